import itertools
import json
import math
import re
import unicodedata

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.strategies import nested

from vision_composer.errors import ConfigError
from vision_composer.presets import preset_names, preset_path
from vision_composer.schemas import CODES, load_yaml
from vision_composer.schemas.yaml.nodes import MAX_BYTES, MAX_DEPTH, MAX_NODES
from vision_composer.schemas.yaml.reading import read_yaml


def value_of(text):
    return load_yaml(f"key: {text}", "s").plain()["key"]


def refused(text):
    with pytest.raises(ConfigError) as caught:
        load_yaml(text, "s")
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # YAML 1.2's core schema ...
        *[(word, None) for word in ("null", "Null", "NULL", "~", "")],
        *[(word, True) for word in ("true", "True", "TRUE")],
        *[(word, False) for word in ("false", "False", "FALSE")],
        ("0", 0), ("-0", 0), ("+12", 12), ("-12", -12), ("0o17", 15), ("0xFf", 255),
        ("1.5", 1.5), ("-.5", -0.5), ("1.", 1.0), ("1e-5", 1e-5), ("1E+3", 1000.0), ("0.0", 0.0),
        (str(2**63 - 1), 2**63 - 1),
        # ... in which all of these are strings, whatever YAML 1.1 made of them ...
        *[(word, word) for word in ("no", "No", "off", "on", "yes", "y", "n", "nUll", "tRUE", "None")],
        *[(word, word) for word in ("12:30:00", "2024-01-01", "1_000", "0b11", "=", "1e", "0x", "+")],
        # ... and so is a leading zero, which the two read differently.
        ("017", "017"), ("-017", "-017"), ("00", "00"),
        ("'1'", "1"), ('"null"', "null"), ('"\\u00e9\\n"', "é\n"),
        ("|\n  1\n", "1\n"), (">-\n  a\n  b\n", "a b"),
        ("[1, [a, {b: c}], ]", [1, ["a", {"b": "c"}]]),
        ("{a: 1, b: }", {"a": 1, "b": None}),
        ("${a.b}", "${a.b}"),
    ],
)  # fmt: skip
def test_scalars(text, value):
    result = value_of(text)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize("digits", [23, 5_000, 900_000])
@pytest.mark.parametrize("prefix", ["", "-", "0x", "0o"])
def test_integers_beyond_64_bits_are_refused(prefix, digits):
    problem = refused(f"a: 1\nb: {prefix}{'7' * digits}")
    assert (problem.code, problem.span.line, problem.span.column) == ("VC006", 2, 4)


@pytest.mark.parametrize(
    "text", [".inf", "-.INF", "+.Inf", ".nan", ".NaN", "1e999", "-1e999", "9" * 400 + ".0"]
)
def test_numbers_that_are_not_finite_are_refused(text):
    assert refused(f"a: {text}").code == "VC006"


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("", "VC002", 1, 1),
        ("# only a comment\n", "VC002", 1, 1),
        ("---\n...\n", "VC002", 1, 1),
        ("null", "VC002", 1, 1),
        ("- a\n", "VC103", 1, 1),
        ("\n just text", "VC103", 2, 2),
        ("a: 1\n---\nb: 2", "VC002", 2, 1),
        ("a: 1\n...\nb: 2", "VC002", 3, 1),
        ("a: b: c", "VC002", 1, 5),
        ("a:\n\t- b", "VC002", 2, 1),
        ("a: [1, 2", "VC002", 1, 9),
        ("é: '", "VC002", 1, 4),
        ("%YAML 3.0\n---\na: 1", "VC002", 1, 1),
        ("a: \x00", "VC002", 1, 4),
        ("a: 1\r\nb: \x07", "VC002", 2, 4),
        ("a: \ud800", "VC002", 1, 4),
        ("a: \ufeff", "VC002", 1, 4),
        ('a: "\\ud83d\\ude00"', "VC002", 1, 7),
        ("a: 1\nb: 2\na: 3", "VC003", 3, 1),
        ("x: {a: 1, 'a': 2}", "VC003", 1, 11),
        ("b: &b {c: 1}\na:\n  <<: *b\n  <<: *b", "VC003", 4, 3),
        ("1: a", "VC004", 1, 1),
        ("a: {true: b}", "VC004", 1, 5),
        ("~: b", "VC004", 1, 1),
        ("'': b", "VC004", 1, 1),
        ("a.b: c", "VC004", 1, 1),
        ("? {a: b}\n: c", "VC004", 1, 3),
        ("a: &x b\n*x : c", "VC004", 2, 1),
        ("a: &x 1\nb: &x [*x]", "VC002", 2, 8),
        ("a: {<<: 1}", "VC004", 1, 9),
        ("a: {<<: [{b: 1}, 2]}", "VC004", 1, 9),
        ("a: !!str b", "VC005", 1, 4),
        ("a: ! b", "VC005", 1, 4),
        ("!!map {a: b}", "VC005", 1, 1),
        ("a: [b, !x {}]", "VC005", 1, 8),
        ("!!str a: b", "VC005", 1, 1),
        ("a: !!python/name:os.system x", "VC005", 1, 4),
        ("a: *b", "VC002", 1, 4),
        ("a: &b [*b]", "VC002", 1, 8),
        ("a: &b\n  c: {d: *b}", "VC002", 2, 10),
        ("&b a: *b\nc: *d", "VC002", 2, 4),
    ],
)  # fmt: skip
def test_refusals_and_where(text, code, line, column):
    problem = refused(text)
    assert (problem.code, problem.span.source, problem.span.line, problem.span.column) == (
        code,
        "s",
        line,
        column,
    )


def test_a_tag_is_named_as_it_was_written():
    assert "remove !!python/name:os.system" in refused("a: !!python/name:os.system x").message


def test_duplicate_key_names_the_first():
    assert refused("a: 1\nb: 2\na: 3").message == "duplicate key; first at s:1:1"


@pytest.mark.parametrize(
    ("data", "line", "column"),
    [(b"a: \xff", 1, 4), ("é: 1\nü: ".encode() + b"\x80", 2, 4), ("a: 1".encode("utf-16"), 1, 1)],
)
def test_bytes_that_are_not_utf8(data, line, column):
    problem = refused(data)
    assert (problem.code, problem.span.line, problem.span.column) == ("VC001", line, column)


def test_byte_order_mark_and_line_ends():
    tree = load_yaml(b"\xef\xbb\xbfa: 1\r\nb:\r\n  - c # d\r\n", "s")
    assert tree.plain() == {"a": 1, "b": ["c"]}
    assert tree.value["a"].key.span.column == 1
    assert tree.value["b"].value[0].place.span == type(tree.place.span)("s", 3, 5)


def test_merge_keys():
    tree = load_yaml(
        "base: &base {a: 1, b: 2}\nmore: &more {b: 3, c: 4}\n"
        "one:\n  <<: *base\n  b: 5\ntwo: {a: 6, <<: [*more, *base]}\nthree: {<<: {d: 7}}\nquoted: {'<<': 8}",
        "s",
    ).plain()
    assert tree["one"] == {"a": 1, "b": 5}
    assert tree["two"] == {"b": 3, "c": 4, "a": 6}
    assert tree["three"] == {"d": 7}
    assert tree["quoted"] == {"<<": 8}


def test_an_alias_has_its_own_key_and_the_anchors_value():
    tree = load_yaml("a: &x {b: 1}\nlong: *x\n", "s")
    assert tree.value["long"].plain() == {"b": 1}
    assert tree.value["long"].key.span.line == 2
    assert tree.value["long"].value["b"].place.span.line == 1


def laughs(width, levels):
    names = [f"l{i}" for i in range(levels)]
    lines = [f"l0: &l0 [{', '.join('x' * width)}]"]
    lines += [f"{new}: &{new} [{', '.join([f'*{old}'] * width)}]" for old, new in itertools.pairwise(names)]
    return "\n".join(lines)


@pytest.mark.parametrize("text", [laughs(10, 9), laughs(2, 60), laughs(9_000, 3), laughs(2, 30_000)])
def test_billion_laughs_are_refused_before_they_are_expanded(text):
    assert refused(text).code == "VC006"


def test_merge_keys_cannot_laugh_either():
    text = "a: &a {" + ", ".join(f"k{i}: 1" for i in range(5_000)) + "}\n"
    text += "".join(f"b{i}: {{<<: *a}}\n" for i in range(5_000))
    assert refused(text).code == "VC006"


def test_limits_are_where_they_are_said_to_be():
    # Root, list and MAX_NODES - 2 items.
    assert len(load_yaml(f"a: [{'x,' * (MAX_NODES - 2)}]", "s").plain()["a"]) == MAX_NODES - 2
    assert refused(f"a: [{'x,' * (MAX_NODES - 1)}]").code == "VC006"
    # The value of a is one level below the root.
    deep = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    load_yaml(f"a: {deep}", "s")
    assert refused(f"a: [{deep}]").code == "VC006"
    assert refused(f"a: &a {deep[:-1]}, x]\nb: {{c: *a}}").code == "VC006"
    assert load_yaml("a: 1 #" + "x" * (MAX_BYTES - 6), "s").plain() == {"a": 1}
    assert refused("a: 1 #" + "x" * (MAX_BYTES - 5)).code == "VC006"


def test_levels_inside_two_anchors_count_for_the_outer_one():
    def text(levels):
        deep = "[" * levels + "]" * levels
        return f"a: &a [&b {deep}, x]\nb: {'[' * 40}*a{']' * 40}"

    load_yaml(text(MAX_DEPTH - 43), "s")
    assert refused(text(MAX_DEPTH - 20)).code == "VC006"


@pytest.mark.parametrize("bracket", ["[", "{", "- ", "? ", "{a: ", "&a [", "!"])
def test_deep_nesting_ends_in_an_error(bracket):
    assert refused("a:\n " + bracket * (500_000 // len(bracket))).code in ("VC002", "VC004", "VC005", "VC006")


@pytest.mark.parametrize("name", ["missing.yaml", "x" * 5_000 + ".yaml", "nul\0.yaml", "."])
def test_a_file_that_cannot_be_read(tmp_path, name):
    with pytest.raises(ConfigError) as caught:
        read_yaml(tmp_path / name, "named.yaml")
    (problem,) = caught.value.problems
    assert problem.code == "VC001"
    assert problem.span.source == "named.yaml"


def test_a_file_larger_than_the_limit_is_not_read_whole(tmp_path):
    file = tmp_path / "large.yaml"
    with file.open("wb") as handle:
        handle.truncate(1 << 40)  # sparse: takes no space, and no memory could hold it
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        read_yaml(file, "large.yaml")


# Independent truth for values: JSON is a subset of YAML 1.2.
LETTERS = st.characters(
    codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufeff\ufffe\uffff\u2028\u2029"
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(LETTERS, max_size=20)
)
KEYS = st.text(LETTERS, min_size=1, max_size=8).filter(lambda key: "." not in key)
VALUES = nested(SCALARS, KEYS, most=12)


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(KEYS, VALUES, max_size=4), st.sampled_from([None, 2]))
def test_json_means_the_same_here(data, indent):
    text = json.dumps(data, ensure_ascii=False, indent=indent)
    assert load_yaml(text, "s").plain() == data


# Independent truth for positions: PyYAML's own parser in Python, composing nodes.
PLAIN = st.text("abcé🜂", min_size=1, max_size=4)
TREES = st.dictionaries(
    PLAIN,
    st.recursive(
        PLAIN,
        lambda inner: (
            st.lists(inner, min_size=1, max_size=3) | st.dictionaries(PLAIN, inner, min_size=1, max_size=3)
        ),
        max_leaves=10,
    ),
    min_size=1,
    max_size=4,
)


def positions(node, path=()):
    yield path, (node.start_mark.line + 1, node.start_mark.column + 1)
    if isinstance(node, yaml.SequenceNode):
        for i, child in enumerate(node.value):
            yield from positions(child, (*path, i))
    elif isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            yield (*path, key.value, "key"), (key.start_mark.line + 1, key.start_mark.column + 1)
            yield from positions(child, (*path, key.value))


def our_positions(node, path=()):
    if node.key:
        yield (*path, "key"), (node.key.span.line, node.key.span.column)
    yield path, (node.place.span.line, node.place.span.column)
    for key, child in node.children():
        yield from our_positions(child, (*path, key))


@settings(deadline=None, max_examples=100)
@given(TREES, st.sampled_from([None, False, True]), st.sampled_from(["\n", "\r\n"]))
def test_positions_are_pyyamls(data, flow, line_break):
    text = yaml.safe_dump(data, allow_unicode=True, default_flow_style=flow, line_break=line_break, width=20)
    assert dict(our_positions(load_yaml(text, "s"))) == dict(
        positions(yaml.compose(text, Loader=yaml.SafeLoader))
    )


def check(data):
    """Whatever the input: a tree, or problems that stand inside it."""
    try:
        plain = load_yaml(data, "s").plain()
    except ConfigError as error:
        (problem,) = error.problems
    else:
        assert isinstance(plain, dict)
        assert all(math.isfinite(value) for value in plain.values() if isinstance(value, float))
        return
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    assert problem.code in CODES
    assert 1 <= problem.span.line <= text.count("\n") + text.count("\r") + 1
    assert 1 <= problem.span.column <= len(text) + 1
    assert "Cc" not in {
        unicodedata.category(character) for character in re.sub("[\t\n]", "", problem.render())
    }
    assert "\n" not in str(problem)


ANYTHING = settings(deadline=None, max_examples=300, suppress_health_check=list(HealthCheck))


@ANYTHING
@given(st.binary(max_size=200))
def test_any_bytes(data):
    check(data)


@ANYTHING
@given(
    st.text(max_size=100) | st.text("abc:-?[]{},#&*!|>'\"%@`~ \t\r\n\\.0x1<\x85\u2028\ufeff$", max_size=60)
)
def test_any_text(text):
    check(text)


@ANYTHING
@given(st.data())
def test_any_mutation_of_a_preset(data):
    text = preset_path(data.draw(st.sampled_from(preset_names()))).read_text()
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        cut = data.draw(st.integers(0, 12))
        text = (
            text[:start]
            + data.draw(st.text(max_size=3) | st.sampled_from(list(":-[]{}&*!|>\t\n ")))
            + text[start + cut :]
        )
    check(text)
