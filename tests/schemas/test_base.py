"""Every block of a config is frozen and strict, and says which key was meant."""

from __future__ import annotations

import re
from typing import Annotated, Any

import pytest
from omegaconf import OmegaConf
from pydantic import BeforeValidator, Field, ValidationError
from support.loading import faults

from vision_composer.errors import Problem
from vision_composer.schemas.base import (
    MOST_PROBLEMS,
    ConfigModel,
    Origin,
    escape_references,
    invalid,
    problem,
    whole_number,
)


class Inner(ConfigModel):
    depth: int = 1


class Block(ConfigModel):
    width: int = 1
    schema_version: int = Field(default=1, alias="schema")
    inner: Inner = Inner()


def messages(values: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Block.model_validate(values)
    return [line["msg"] for line in caught.value.errors()]


def test_an_unknown_key_is_compared_with_those_of_its_own_block() -> None:
    assert faults(Block, {"widht": 2, "inner": {"dept": 3}}) == [
        ("VC101", ("inner", "dept")),
        ("VC101", ("widht",)),
    ]
    assert messages({"widht": 2}) == ["unknown key (did you mean 'width'?)"]
    assert messages({"inner": {"xyz": 3}}) == ["unknown key (keys here: depth)"]
    assert messages({"xyz": 2}) == ["unknown key (keys here: width, schema, inner)"]  # as they are written


def test_of_very_many_unknown_keys_the_first_are_compared() -> None:
    found = messages({f"widht{number}": 1 for number in range(MOST_PROBLEMS + 3)})
    assert [message.startswith("unknown key") for message in found] == [True] * MOST_PROBLEMS + [False] * 3


def test_blocks_are_strict_and_frozen() -> None:
    for values in ({"width": "2"}, {"width": 2.0}, {"width": True}, {"inner": None}, []):
        assert faults(Block, values) != []
    block = Block.model_validate({"width": 2, "schema": 3})
    assert (block.width, block.schema_version, block.inner) == (2, 3, Inner())
    with pytest.raises(ValidationError, match="frozen"):
        block.width = 3  # type: ignore[misc]


def test_problems_of_our_own_keep_their_code_their_words_and_their_path() -> None:
    error = invalid("block", problem("VC104", "use {braces}", "a", 0, value=3), problem("VC102", "b"))
    assert [(line["type"], line["msg"], line["loc"], line["input"]) for line in error.errors()] == [
        ("VC104", "use {braces}", ("a", 0), 3),
        ("VC102", "b", (), None),
    ]


class Whole(ConfigModel):
    number: Annotated[Any, BeforeValidator(whole_number)]


@pytest.mark.parametrize(("value", "right"), [(1, True), ("a", True), (True, False), (1.0, False)])
def test_a_choice_of_integers_takes_nothing_that_only_equals_one(value: Any, right: bool) -> None:
    assert faults(Whole, {"number": value}) == ([] if right else [("int_type", ("number",))])


@pytest.mark.parametrize("text", ["${a}", r"\${a}", r"\\${a} and ${b}", "$a {b}", "a", r"C:\dir"])
def test_text_that_is_escaped_is_itself_to_omegaconf(text: str) -> None:
    values = {"a": text, "b": [text, {"c": (text, 1)}], "d": None}
    escaped = escape_references(values)
    resolved: Any = OmegaConf.to_container(OmegaConf.create(escaped), resolve=True)
    assert resolved == {"a": text, "b": [text, {"c": [text, 1]}], "d": None}
    assert not re.search(r"(?<!\\)\$\{", escaped["a"])


def test_where_a_config_came_from_does_not_make_it_another() -> None:
    def elsewhere(problem: Problem) -> Problem:
        return problem

    assert Origin() == Origin(elsewhere)
    wrong = Problem("VC104", "wrong")
    assert Origin().locate(wrong) is wrong
