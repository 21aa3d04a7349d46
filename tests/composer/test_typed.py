"""The class of each type of block: one, in the file of the block's name."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from vision_composer.typed import classes_by_type


class Base:
    type = ""


class First(Base):
    type = "first"


class Heir(First):
    """Has no type of its own."""


class Block:
    """A config block; its module's last name says where the class lies."""

    __module__ = "schemas.somewhere.one"


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = ModuleType("classes_of_a_test.one")
    monkeypatch.setitem(sys.modules, "classes_of_a_test", ModuleType("classes_of_a_test"))
    monkeypatch.setitem(sys.modules, "classes_of_a_test.one", made)
    return made


def found() -> dict[str, type[Any]]:
    return classes_by_type("classes_of_a_test", {"first": Block}, Base)


def test_the_class_that_declares_the_type_is_taken(one: ModuleType) -> None:
    vars(one).update({"Base": Base, "First": First, "Heir": Heir, "other": 3, "Block": Block})
    assert found() == {"first": First}


def test_none_or_two_are_a_mistake(one: ModuleType) -> None:
    with pytest.raises(TypeError, match=r"test\.one must define one Base of type 'first', not 0"):
        found()
    vars(one).update({"First": First, "Again": type("Again", (Base,), {"type": "first"})})
    with pytest.raises(TypeError, match="not 2"):
        found()
