"""What broken syntax is likely meant to be, and where that is best shown."""

import pytest
import yaml

from vision_composer.schemas.yaml.syntax import explained


def complaint(text):
    """The position, as the text from there on, and the words."""
    with pytest.raises(yaml.MarkedYAMLError) as caught:
        list(yaml.parse(text, Loader=yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader))
    index, words = explained(caught.value, text)
    return text[index:], words


@pytest.mark.parametrize(
    ("text", "rest", "words"),
    [
        ("a: 1\n\tb: 2\n", "\tb: 2\n", "a tab cannot stand here; indent with spaces"),
        ("a: 'x\nb: 1\n", "'x\nb: 1\n", "the quote that opens here is not closed"),
        ('a: "x\n', '"x\n', "the quote that opens here is not closed"),
        ("a: 1\nb\nc: 2\n", "b\nc: 2\n", "no ': ' follows this key; write key: value"),
        ("a: @x\n", "@x\n", "a plain value cannot begin with @; quote it"),
        ("a: `x`\n", "`x`\n", "a plain value cannot begin with `; quote it"),
    ],
    ids=["tab", "quote", "double quote", "no colon", "at", "backtick"],
)
def test_what_it_is(text, rest, words):
    assert complaint(text) == (rest, words)


@pytest.mark.parametrize(
    ("text", "at", "hint"),
    [
        ("a: b: c\n", ": c", "put a space behind each colon"),
        ("a: 1\n b: 2\n", ": 2", "begin the keys of one block in one column"),
        ("a:\n  b: 1\n c: 2\n", "c: 2", "begin keys of one block in one column"),
        ("a: 'x' y\n", "y", "nothing behind a closed quote"),
        ('a: "C:\\dir"\n', "\\dir", "begins an escape; use single quotes"),
        ("a: *\n", "\n", "* and & begin an alias and an anchor"),
        ("a: [1 {2}]\n", "{2}", "a comma or the closing bracket is missing"),
        ("a: [1,\n", "", "a value or the closing bracket is missing"),
    ],
    ids=["colon", "deeper", "less deep", "behind a quote", "escape", "alias", "comma", "bracket"],
)
def test_hints_stand_behind_the_parsers_words(text, at, hint):
    rest, words = complaint(text)
    assert rest.startswith(at)
    assert "; " in words
    assert hint in words


def test_an_error_without_words_or_place():
    assert explained(yaml.MarkedYAMLError(), "a: 1") == (0, "not valid YAML")
    mark = yaml.Mark("s", 99, 0, 0, None, 0)
    assert explained(yaml.MarkedYAMLError(problem="odd", problem_mark=mark), "a: 1") == (4, "odd")
