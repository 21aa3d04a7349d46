"""Migrating texts: the version is written, and every other byte survives."""

import codecs
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.loading import load
from support.offenders import offenders

from vision_composer.errors import ConfigError, MissingDependencyError
from vision_composer.presets import preset_names, preset_path
from vision_composer.schemas import TowerConfig, load_yaml
from vision_composer.schemas.root import SCHEMA_VERSION
from vision_composer.schemas.yaml import migrations
from vision_composer.schemas.yaml.migrations import is_current, migrated, rename

CONFIG = """\
# yaml-language-server: $schema=vision-composer-1.json

# What the tower is for.
encoder:   &tower  # the small one
    model_type: "dinov2"
    hidden_size:  0x60
    num_attention_heads: 4
  # a note on its own line
weights:   {source: ~,dtype:   'float16'}   # flow

select_layers:
-   -2
-   -1
summary: >-
     one line
     and another
name: plain
license: null
"""


def problems(text):
    with pytest.raises(ConfigError) as caught:
        migrated(text.encode(), "a.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_the_version_of_the_model_is_the_last_of_the_migrations():
    assert list(migrations.MIGRATIONS) == list(range(SCHEMA_VERSION))
    assert load({"schema": SCHEMA_VERSION, "encoder": {"model_type": "dinov2"}}).schema_version
    assert SCHEMA_VERSION in TowerConfig.model_json_schema()["properties"]["schema"].values()


@pytest.mark.parametrize("line_break", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8], ids=["plain", "bom"])
def test_one_line_is_added_below_the_header(line_break, mark):
    text = CONFIG.replace("\n", line_break)
    head, _, rest = text.partition("encoder:")
    result = migrated(mark + text.encode(), "a.yaml")
    assert result == mark + f"{head}schema: 1{line_break}encoder:{rest}".encode()
    assert load(load_yaml(result, "a.yaml").plain()).encoder.hidden_size == 96


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


def test_a_current_file_is_not_touched(monkeypatch):
    monkeypatch.setitem(sys.modules, "ruamel.yaml", None)  # nor is ruamel needed

    def check(name):
        content = preset_path(name).read_bytes()
        assert is_current(content, name)
        assert migrated(content, name) is content

    assert offenders(check, preset_names()) == []


def test_a_preset_without_its_version_gets_back_what_it_was():
    def check(name):
        content = preset_path(name).read_bytes()
        older = content.replace(b"schema: 1\n", b"")
        assert not is_current(older, name)
        assert migrated(older, name) == content

    assert offenders(check, preset_names()[::5]) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema: 2\n", "a.yaml:1:9: schema: version 2 is newer than this vision-composer, which reads 1; "
         "upgrade it [VC104]"),
        ("schema_version: 7\n", "a.yaml:1:17: schema: version 7 is newer than this vision-composer, which "
         "reads 1; upgrade it [VC104]"),
        ("schema: one\n", "a.yaml:1:9: schema: expected a version, such as 1 [VC104]"),
        ("schema: true\n", "a.yaml:1:9: schema: expected a version, such as 1 [VC104]"),
        ("schema: 0\n", "a.yaml:1:9: schema: expected a version, such as 1 [VC104]"),
        ("name: x\n", "a.yaml:1:1: this is no config: it has none of the keys schema, encoder, towers "
         "and extends [VC102]"),
        ("extends: a\ndefaults: [b]\non: push\n", "a.yaml:2:1: defaults: unknown key [VC101]"),
        ("encoder: {\n", "a.yaml:2:1: did not find expected node content while parsing a flow node; "
         "a value or the closing bracket is missing [VC002]"),
        ("encoder:\n  model_type: a\tb\n", "a.yaml:1:1: cannot be migrated with its layout kept "
         "(ruamel.yaml: found character '\\t' that cannot start any token); write schema: 1 by hand [VC002]"),
        # ruamel writes a mapping in braces on one line, and drops the comments in it.
        ("{ extends: a,\n  # mine\n  name: b }\n", "a.yaml:1:1: cannot be migrated with its layout kept "
         "(its comments or values would not survive); write schema: 1 by hand [VC002]"),
    ],
)  # fmt: skip
def test_refused(text, message):
    assert problems(text)[0] == message


def test_without_ruamel_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ruamel.yaml", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'vision-composer\[migrate\]'"):
        migrated(CONFIG.encode(), "a.yaml")


def test_a_later_step_changes_its_lines_only(monkeypatch):
    """A step that renames, moves, adds and removes, as a real one may; ruamel's spaces come with it."""

    def to_2(config):
        rename(config, "select_layers", "layers")
        config["encoder"]["dtype"] = config["weights"].pop("dtype")
        config["tower"] = {"head": True}
        config["schema"] = "the driver writes it"
        del config["license"]

    monkeypatch.setattr(migrations, "SCHEMA_VERSION", 2)
    monkeypatch.setitem(migrations.MIGRATIONS, 1, to_2)
    text = CONFIG.replace("encoder:   &", "schema: 1    # the format\nencoder:   &")
    result = text
    for old, new in {
        "schema: 1    # the": "schema: 2    # the",
        "  # a note on its own line\n": "  # a note on its own line\n    dtype: 'float16'\n",
        "weights:   {source: ~,dtype:   'float16'}   #": "weights: {source: null}                     #",
        "select_layers:": "layers:",
        "license: null": "tower:\n    head: true",
    }.items():
        assert old in text
        result = result.replace(old, new)
    assert migrated(text.encode(), "a.yaml").decode() == result


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
