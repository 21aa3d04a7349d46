"""Overrides: ``a.b=value`` and ``~a.b``, each a layer on top of a config, applied in the order given."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ...errors import ConfigError
from ...text import did_you_mean
from .merge import merge
from .nodes import Loc, Node, Place, Source, dotted
from .reading import parse

_KEY = re.compile(r"[\w-]+(?:\.[\w-]+|\[\d{1,6}\])*")
_LONGEST_KEY = 200
_PART = re.compile(r"\[(\d+)\]|([\w-]+)")


@dataclass(frozen=True, slots=True)
class _Step:
    part: str | int
    place: Place

    def index(self) -> int | None:
        """The list index it names: ``a[0]`` and ``a.0`` both do."""
        if isinstance(self.part, int):
            return self.part
        return int(self.part) if self.part.isdecimal() and len(self.part) < 7 else None


def apply_override(tree: Node, text: str) -> Node:
    """``tree`` with one override applied.

    Args:
        tree: The config so far.
        text: ``key=value``, the value in YAML, merged into what is there; or ``~key``, which removes the key.
            Items of a list are ``key[0]`` or ``key.0``.

    Raises:
        ConfigError: If it cannot be read, or addresses what cannot be there. A key that no config has is
            left for validation to find.
    """
    source = Source(f"override {text if len(text) <= 80 else text[:77] + '...'!r}", text)
    remove = text.startswith("~")
    key, equals, _ = text.partition("=")
    if remove == bool(equals):
        raise _error(source, 0, "write an override as key=value, or as ~key to remove the key")
    name = key[1:] if remove else key
    if len(name) > _LONGEST_KEY or not _KEY.fullmatch(name):
        raise _error(source, int(remove), "cannot read the key; write one like encoder.hidden_size")
    steps = [
        _Step(int(part[1]) if part[1] else part[2], Place(source, part.start() + int(remove)))
        for part in _PART.finditer(name)
    ]
    if steps[0].part == "extends":
        raise _error(source, int(remove), "extends cannot be overridden: its layers are already merged")
    if remove:
        return _without(tree, steps, ())
    # Spaces in the key's place keep the value's characters at the indices they have in the override.
    leaf = parse(source, " " * (len(key) + 1) + text[len(key) + 1 :])
    return merge(tree, _layer(tree, steps, leaf, ()))


def _error(source: Source, index: int, message: str) -> ConfigError:
    return ConfigError(Place(source, index).problem("VC009", message))


def _layer(tree: Node | None, steps: list[_Step], leaf: Node, done: Loc) -> Node:
    """``leaf`` inside new mappings without a position, so that a merge keeps the positions that are there."""
    if not steps:
        return leaf
    step, rest = steps[0], steps[1:]
    if tree is not None and isinstance(tree.value, list):
        index = _item(tree, step, done)
        path = (*done, index)
        item = merge(tree.value[index], _layer(tree.value[index], rest, leaf, path), path)
        return replace(tree, value=[*tree.value[:index], item, *tree.value[index + 1 :]])
    if isinstance(step.part, int):
        message = "there is no list here to take an item of; write the whole list"
        raise ConfigError(step.place.problem("VC009", message, done))
    below = _layer(tree.child(step.part) if tree else None, rest, leaf, (*done, step.part))
    return Node({step.part: replace(below, key=step.place)})


def _without(tree: Node, steps: list[_Step], done: Loc) -> Node:
    step, rest = steps[0], steps[1:]
    part = _item(tree, step, done) if isinstance(tree.value, list) else step.part
    child = tree.child(part)
    if child is None:
        keys = tree.value if isinstance(tree.value, dict) else ()
        message = f"nothing to remove: there is no '{part}'{did_you_mean(part, keys)}"
        raise ConfigError(step.place.problem("VC009", message, (*done, part)))
    value = tree.value.copy()
    if rest:
        value[part] = _without(child, rest, (*done, part))
    else:
        del value[part]
    return replace(tree, value=value)


def _item(tree: Node, step: _Step, done: Loc) -> int:
    index = step.index()
    if index is None or index >= len(tree.value):
        length = len(tree.value)
        message = f"there is no item '{step.part}': {dotted(done)} is a list of {length}, counted from 0"
        raise ConfigError(step.place.problem("VC009", message, done))
    return index
