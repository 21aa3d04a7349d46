"""A changed config in its own layout: what was not changed keeps every byte, or nothing is written."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.loading import load

from vision_composer.errors import ConfigError, MissingDependencyError
from vision_composer.schemas import load_yaml
from vision_composer.schemas.yaml.migrations import migrated
from vision_composer.schemas.yaml.rewrite import MAX_REWRITTEN_BYTES, MAX_REWRITTEN_VALUES, rewritten


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("encoder: {model_type: dinov2}", "schema: 1\nencoder: {model_type: dinov2}"),
        ("{encoder: {model_type: dinov2}}\n", "{schema: 1, encoder: {model_type: dinov2}}\n"),
        ("{  encoder:  {model_type: dinov2}} # x\n", "{schema: 1, encoder: {model_type: dinov2}} # x\n"),
        ("---\nextends: a\n", "---\nschema: 1\nextends: a\n"),
        ("# top\n---\n# below\nextends: a\n...\n", "# top\n---\n# below\nschema: 1\nextends: a\n...\n"),
        ("%YAML 1.2\n---\nextends: a\n", "%YAML 1.2\n---\nschema: 1\nextends: a\n"),
        (
            "encoder: {model_type: dinov2,\n   hidden_size: 96}\n",
            "schema: 1\nencoder: {model_type: dinov2,\n   hidden_size: 96}\n",
        ),
        (
            "extends: &x a\nname:  *x\nencoder:\n    <<:  {hidden_size: 96}\n",
            "schema: 1\nextends: &x a\nname:  *x\nencoder:\n    <<:  {hidden_size: 96}\n",
        ),
        # Under the name of the field in Python, as model_dump writes it: renamed where it stands.
        (
            "name:   a\nschema_version: 1  # last\nextends:  b\n",
            "name:   a\nschema: 1          # last\nextends:  b\n",
        ),
    ],
)
def test_texts(text, result):
    assert migrated(text.encode(), "a.yaml").decode() == result


def test_without_ruamel_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ruamel.yaml", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'vision-composer\[migrate\]'"):
        migrated(b"extends: a", "a.yaml")


def rename(config):
    config["b"] = "new"


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("a:   1 # one\nb:  x  # two\nc: [ 1,2 ]", "a:   1 # one\nb: new # two\nc: [ 1,2 ]"),
        ("a: 1\r\nb: x\r\n\r\nc:   y\r\n", "a: 1\r\nb: new\r\n\r\nc:   y\r\n"),
        ("b: x\na:  1", "b: new\na:  1"),
        ("a:   1", "a:   1\nb: new\n"),
    ],
    ids=["spaces", "crlf", "no line break", "at the end"],
)
def test_lines_that_change_and_no_others(text, result):
    assert rewritten(text, "s", rename) == result


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\n" + "# x\n" * (MAX_REWRITTEN_BYTES // 4), "it is larger than 32 KiB"),
        (f"a: [{', '.join('1' * MAX_REWRITTEN_VALUES)}]", "it holds more than 1000 values"),
        ("{ a: 1,\n  # mine\n  b: x }", "its comments or values would not survive"),
    ],
    ids=["bytes", "values", "comment"],
)
def test_what_cannot_be_rewritten(text, reason):
    with pytest.raises(ConfigError) as caught:
        rewritten(text, "s", rename)
    (problem,) = caught.value.problems
    assert (problem.code, problem.span.source) == ("VC002", "s")
    assert problem.message == f"cannot be migrated with its layout kept ({reason}); write schema: 1 by hand"


def test_a_change_that_ruamel_carries_out_in_another_way_is_refused():
    def differs(config):
        config["b"] = "plain" if type(config) is dict else "ruamel"

    with pytest.raises(ConfigError, match="would not survive"):
        rewritten("b: x\n", "s", differs)


HEADS = st.lists(st.sampled_from(["# modeline", "", "---", "  # indented"]), max_size=3)
LINES = st.sampled_from(
    [
        "encoder:{s}{{model_type: dinov2,{s}hidden_size: 96,\n     num_attention_heads: 4}}",
        "encoder:{e}\n{i}model_type:{s}dinov2{e}\n{i}hidden_size:{s}96\n{e}\n{i}num_attention_heads: 4{e}",
        "name:{s}'a'{e}",
        'license:{s}"b"{e}',
        "summary:{s}>-\n{i}one\n\n{i}two",
        "source: |\n{i}text # no comment\n{i}  more{e}",
        "select_layers:{s}[-2,{s}-1]{e}",
        "select_layers:{e}\n{i}- -2{e}\n{i}- -1",
        "weights:{e}\n{i}<<:{s}{{dtype: float16}}{e}\n{i}source: ~",
        "head: &no{s}false{e}\ncompile: *no",
        "rope_type:{e}",
    ]
)


@st.composite
def texts(draw):
    """Configs without a version, in all kinds of layout."""
    spaces, indent = draw(st.sampled_from([" ", "  ", "     "])), draw(st.sampled_from(["  ", "    ", " "]))
    comment = st.sampled_from(["", "", "  # why", "   "])
    blocks = {}
    for line in draw(st.lists(LINES, min_size=1, max_size=8)):
        blocks.setdefault(line.partition(":")[0], line)
    if "encoder" not in blocks:
        blocks["encoder"] = "encoder:{s}{{model_type: dinov2}}"
    head = draw(HEADS)
    if "---" in head:
        head = head[: head.index("---") + 1]
    lines = [line.format(s=spaces, i=indent, e=draw(comment)) for line in blocks.values()]
    text = "\n".join([*head, *lines]) + draw(st.sampled_from(["", "\n", "\n\n", "\n# end\n"]))
    return text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))


@settings(max_examples=150, deadline=None)
@given(texts())
def test_any_layout(text):
    """One line more and nothing else, the same values, and a second time nothing at all."""
    result = migrated(text.encode(), "a.yaml")
    assert (
        result.replace(b"\r\n", b"\n").replace(b"schema: 1\n", b"", 1) == text.replace("\r\n", "\n").encode()
    )
    assert migrated(result, "a.yaml") is result
    plain = load_yaml(text, "a.yaml").plain()
    assert load(load_yaml(result, "a.yaml").plain()) == load({"schema": 1, **plain})
