"""A registry: no name is shadowed, things are checked, and a plugin is imported when it is used."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest

from vision_composer import registry as module
from vision_composer.errors import InputError, PluginError
from vision_composer.registry import Origin, Registry, load_plugin, loaded_plugins

NUMBERS = ModuleType("plug_numbers")
"""What the entry points below lead to."""
vars(NUMBERS).update({"three": 3, "text": "four"})


def number(name: str, thing: Any) -> int:
    if not isinstance(thing, int):
        raise TypeError(f"expected a number, not {thing!r}")
    return thing


@pytest.fixture
def numbers() -> Registry[int]:
    return Registry("odd number", "numbers", {"one"}, number)


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """Entry points of installed plugins; a test adds some."""
    points: list[EntryPoint] = []
    monkeypatch.setattr(module, "_installed", lambda group: tuple(points))
    monkeypatch.setitem(sys.modules, "plug_numbers", NUMBERS)
    return points


def point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, "vision_composer.numbers")


def test_what_is_registered_is_found_until_it_is_removed(
    numbers: Registry[int], offered: list[EntryPoint]
) -> None:
    numbers.register("five", 5)
    numbers.register("a", 7)
    assert (numbers.names(), numbers.get("five"), "five" in numbers) == (["a", "five"], 5, True)
    assert str(numbers.origin("five")) == "Python call"
    numbers.unregister("five")
    numbers.unregister("never")
    assert (numbers.names(), numbers.get("five"), "five" in numbers) == (["a"], None, False)


@pytest.mark.parametrize(
    ("name", "thing", "message"),
    [
        ("one", 1, "odd number 'one' is already registered: built in"),
        ("five", 5, "odd number 'five' is already registered: Python call"),
        ("", 1, "the name of an odd number must be a string that is not empty, not ''"),
        (3, 1, "must be a string that is not empty, not 3"),
        ("nine", "9", "odd number 'nine': expected a number, not '9'"),
    ],
)
def test_what_is_refused(
    name: Any, thing: Any, message: str, numbers: Registry[int], offered: list[EntryPoint]
) -> None:
    numbers.register("five", 5)
    with pytest.raises(InputError, match=message):
        numbers.register(name, thing)
    assert numbers.names() == ["five"]


def test_a_plugin_is_imported_when_its_name_is_used(
    numbers: Registry[int], offered: list[EntryPoint]
) -> None:
    offered += [point("three", "plug_numbers:three"), point("gone", "plug_nowhere:x")]
    assert "gone" in numbers
    assert numbers.names() == ["gone", "three"]
    assert numbers.get("three") == 3
    assert numbers.get("four") is None
    where = "an unnamed distribution (vision_composer.numbers: gone = plug_nowhere:x)"
    assert str(numbers.origin("gone")) == where
    with pytest.raises(PluginError) as caught:
        numbers.get("gone")
    assert str(caught.value).startswith(f"{where} cannot be imported: ModuleNotFoundError: ")


def test_a_plugin_of_the_wrong_type_is_named(numbers: Registry[int], offered: list[EntryPoint]) -> None:
    offered.append(point("four", "plug_numbers:text"))
    with pytest.raises(PluginError, match=r"'four' of an unnamed .*: expected a number, not 'four'"):
        numbers.get("four")


@pytest.mark.parametrize(
    ("name", "rival"), [("one", "built in"), ("five", "Python call"), ("three", "an unnamed distribution")]
)
def test_two_that_claim_a_name_are_both_named(
    name: str, rival: str, numbers: Registry[int], offered: list[EntryPoint]
) -> None:
    numbers.register("five", 5)
    offered += [point("three", "plug_numbers:three"), point(name, "plug_other:x")]
    with pytest.raises(PluginError) as caught:
        numbers.names()
    assert f"odd number {name!r} is claimed twice: {rival}" in str(caught.value)
    assert "plug_other:x" in str(caught.value)


def test_a_module_that_registers_says_where_from(
    numbers: Registry[int], offered: list[EntryPoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    def imported(name: str) -> None:
        if name == "plug_broken":
            raise SystemExit(3)
        numbers.register("five", 5)

    monkeypatch.setattr(module, "import_module", imported)
    monkeypatch.setattr(module, "_loaded", [])
    with pytest.raises(PluginError, match="--plugin plug_broken cannot be imported: SystemExit: 3"):
        load_plugin("plug_broken")
    load_plugin("plug_numbers")
    assert str(numbers.origin("five")) == "--plugin plug_numbers"
    assert loaded_plugins() == ["plug_numbers"]
    numbers.register("seven", 7)
    assert str(numbers.origin("seven")) == "Python call"  # as before


def test_an_origin_in_words() -> None:
    assert str(Origin("acme", "1.2", "group: a = b")) == "acme 1.2 (group: a = b)"
    assert str(Origin("acme")) == "acme"
