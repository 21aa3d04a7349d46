"""Pydantic's errors in our words: what was expected, what is there, and where it stands."""

import pytest
from pydantic import ValidationError

from vision_composer.errors import Problem, Span
from vision_composer.schemas import TowerConfig, load_yaml
from vision_composer.schemas.base import MOST_PROBLEMS
from vision_composer.schemas.yaml.nodes import from_python
from vision_composer.schemas.yaml.problems import capped, located, problems_of, unfilled

HEAD = "schema: 1\nencoder: {model_type: dinov2}\n"


def problems(text):
    """The problems of a config, as ``line:column path message``."""
    tree = load_yaml(text, "s")
    with pytest.raises(ValidationError) as caught:
        TowerConfig.model_validate(tree.plain())
    found = problems_of(caught.value, tree)
    return [f"{each.span.line}:{each.span.column} {each.path}: {each.message}" for each in found]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "head: on",
            "expected true or false, got the string 'on'; YAML 1.2 reads that as text, write true",
        ),
        ("head: 'False'", "expected true or false, got the string 'False'; write false without quotes"),
        ("head: maybe", "expected true or false, got the string 'maybe'"),
        ("name: 3", "expected a string, got the number 3; quote it: '3'"),
        ("name: [a]", "expected a string, got a list"),
        ("weights: a/b", "expected a mapping, got the string 'a/b'; write weights: {source: a/b}"),
        ("weights: null", "expected a mapping, got null; leave it out for random weights"),
        ("post_norm: Last", "expected 'auto', 'none', 'last' or 'each', got 'Last' (did you mean 'last'?)"),
        ("post_norm: [1]", "expected 'auto', 'none', 'last' or 'each', got a list"),
    ],
)
def test_what_was_expected_and_what_is_there(line, message):
    key, column = line.partition(":")[0], line.index(" ") + 2
    assert problems(f"{HEAD}{line}\n") == [f"3:{column} {key}: {message}"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1_024", "expected an integer, got the string '1_024'; write 1024"),
        ("'0,16'", "expected an integer, got the string '0,16'; write 16"),
        ("16.0", "expected an integer, got the number 16.0; write 16"),
        ("null", "expected an integer, got null; leave it out to have the default"),
        ("16.5", "expected an integer, got the number 16.5"),
        ("0", "must be at least 1, got 0"),
        ("'" + "x" * 99 + "'", "expected an integer, got the string '" + "x" * 56 + "..."),
    ],
)
def test_numbers(value, message):
    text = f"schema: 1\nencoder:\n  model_type: dinov2\n  hidden_size: {value}\n"
    assert problems(text) == [f"4:16 encoder.hidden_size: {message}"]


def test_branches_of_a_union_are_one_problem():
    (problem,) = problems(f"{HEAD}compile: default\n")
    assert problem.startswith("3:10 compile: expected true or false, or a mapping, got the string 'default'")
    assert problem.endswith("; write compile: {mode: default}")


def test_keys_that_are_unknown_or_missing():
    assert problems("schema: 1\n") == ["1:1 encoder: missing key"]
    assert problems("encoder: {model_type: dinov2}\n") == [
        "1:1 schema: missing key; write schema: 1 (vision-composer migrate does)"
    ]
    assert problems(f"{HEAD}parallel:\n  balance: none\n") == ["3:1 parallel.mode: missing key"]
    assert problems(f"{HEAD}nmae: a\n") == ["3:1 nmae: unknown key (did you mean 'name'?)"]
    assert problems("schema: 1\nencoder: {model_type: dinov2, head: true}\n")[0].startswith(
        "2:31 encoder.head: unknown key"
    )


def test_problems_are_in_the_order_of_the_text():
    found = problems("nope: 1\nhead: 3\nencoder: {model_type: dinov2}\nname: 4\nschema: 1\n")
    assert [line.partition(":")[0] for line in found] == ["1", "2", "4"]


@pytest.mark.parametrize(
    ("path", "span"),
    [
        ("a.b[1]", Span("s", 2, 10)),
        ("a.b[7]", Span("s", 2, 3)),  # the key of the nearest value that is there
        ("a.c.d", Span("s", 1, 1)),
        ("", None),
    ],
)
def test_a_problem_gets_the_place_of_its_path(path, span):
    tree = load_yaml("a:\n  b: [1, 2]\n", "s")
    assert located(Problem("VC104", "wrong", path), tree).span == span


def test_a_problem_that_has_a_place_keeps_it():
    known = Problem("VC104", "wrong", "a", Span("other", 3, 4))
    assert located(known, load_yaml("a: 1\n", "s")) is known


def test_of_very_many_problems_the_first_are_named():
    many = [Problem("VC104", "wrong", f"a[{number}]") for number in range(MOST_PROBLEMS + 5)]
    assert capped(many[:MOST_PROBLEMS]) == many[:MOST_PROBLEMS]
    *first, last = capped(many)
    assert first == many[:MOST_PROBLEMS]
    assert (last.code, last.path) == ("VC006", f"a[{MOST_PROBLEMS}]")
    assert last.message == "5 more problems from here on; correct those above first"


def test_what_is_still_to_be_filled_in():
    found = unfilled(from_python({"a": "???", "b": [1, {"c": "???"}], "d": "????", "???": 1}))
    assert [problem.path for problem in found] == ["a", "b[1].c"]
    assert {problem.code for problem in found} == {"VC102"}
