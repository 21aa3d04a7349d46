import pytest
from omegaconf import OmegaConf

from vision_composer.errors import ConfigError, Span
from vision_composer.schemas import CompileConfig
from vision_composer.schemas.yaml.nodes import (
    MAX_DEPTH,
    MAX_NODES,
    Node,
    Place,
    Source,
    dotted,
    find,
    from_python,
    loc_of,
)


@pytest.mark.parametrize(
    ("text", "index", "line", "column"),
    [
        ("abc", 0, 1, 1),
        ("abc", 3, 1, 4),
        ("a\nbc", 3, 2, 2),
        ("a\r\nbc", 3, 2, 1),
        ("a\rbc", 2, 2, 1),
        ("é\u2028ü\n\n🜂x", 6, 3, 2),  # only line feeds and carriage returns end a line, as in an editor
    ],
)
def test_span_counts_characters_from_one(text, index, line, column):
    assert Source("s", text).span(index) == Span("s", line, column)


def test_problem_shows_its_line_with_a_caret():
    problem = Place(Source("s.yaml", "a: 1\n\tb: x\nc: 2"), 9).problem("VC101", "wrong", ("a", "b"))
    assert problem.render() == "s.yaml:2:5: a.b: wrong [VC101]\n  2 | \tb: x\n    | \t   ^"


def test_problem_far_to_the_right_shows_no_line_and_a_long_line_is_cut():
    text = "x" * 100_000
    assert Place(Source("s", text), 50_000).problem("VC101", "wrong").line is None
    assert len(Place(Source("s", text), 5).problem("VC101", "wrong").line) < 300


def test_problem_line_has_nothing_a_terminal_would_act_on():
    assert "\x1b" not in Place(Source("s", "a: \x1b[31m"), 0).problem("VC002", "wrong").render()


def test_problem_without_place_stands_at_the_key_or_nowhere():
    key = Place(Source("s", "abc"), 1)
    assert Node(1, None, key).problem("VC101", "wrong").span == Span("s", 1, 2)
    assert Node(1).problem("VC101", "wrong", ("a",)).render() == "a: wrong [VC101]"


def test_dotted_quotes_what_would_be_misread():
    assert dotted(("a", 0, "b-c", "d e", "", "x\n")) == "a[0].b-c.'d e'.''.'x\\n'"


def test_find_stops_at_the_deepest_node():
    tree = from_python({"a": [{"b": 1}]})
    assert find(tree, ("a", 0, "b")) == (Node(1), 3)
    assert find(tree, ("a", 0, "c", "d"))[1] == 2
    assert find(tree, ("a", "0"))[1] == 1
    assert find(tree, ("a", -1))[1] == 1


def test_from_python_takes_configs_of_every_kind():
    config = OmegaConf.create({"a": "${b}", "b": [1, {"c": None}], "d": "???"})
    tree = from_python({"x": config, "compile": CompileConfig(mode="default"), "t": (1, 2)})
    assert tree.plain() == {
        "x": {"a": "${b}", "b": [1, {"c": None}], "d": "???"},
        "compile": {"mode": "default"},
        "t": [1, 2],
    }


def endless():
    value = {}
    value["again"] = value
    return value


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ({1: 2}, "VC004"),
        ({"a": {"": 1}}, "VC004"),
        ({"a.b": 1}, "VC004"),
        ({"a": float("nan")}, "VC006"),
        ({"a": [float("-inf")]}, "VC006"),
        ({"a": 10**5_000}, "VC006"),
        (endless(), "VC006"),
        ({"a": list(range(MAX_NODES))}, "VC006"),
    ],
)
def test_from_python_refuses(value, code):
    with pytest.raises(ConfigError) as caught:
        from_python(value)
    assert [problem.code for problem in caught.value.problems] == [code]


def test_from_python_takes_the_deepest_it_should():
    value = 1
    for _ in range(MAX_DEPTH):
        value = {"a": value}
    assert from_python(value).plain() == value
    with pytest.raises(ConfigError, match="more than 64 levels"):
        from_python({"a": value})


def test_messages_have_nothing_a_terminal_would_act_on():
    for node in (Node(1), Node(1, Place(Source("s", "a"), 0))):
        assert node.problem("VC101", "a\x1b[31m\nb").message == "a\ufffd[31m\ufffdb"


@pytest.mark.parametrize("path", [("a",), ("a", "b-c", 0, "d_e"), ("steps", 10, 2)])
def test_a_dotted_path_leads_back(path):
    assert loc_of(dotted(path)) == path
