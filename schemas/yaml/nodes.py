"""A config as a tree of located values: where each one stands is kept until the config is valid."""

from __future__ import annotations

import math
import re
import sys
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ...errors import ConfigError, Problem, Span
from ..base import ConfigModel, escape_references

MAX_BYTES = 1 << 20
"""Size of a YAML file."""
MAX_DEPTH = 64
"""Levels of nesting, aliases and references expanded."""
MAX_NODES = 20_000
"""Values in a config, aliases and references expanded."""
MAX_INT = 2**63 - 1
"""Magnitude of an integer."""
MAX_TEXT = 10_000
"""Characters of a string."""
MAX_KEY = 200
"""Characters of a key."""

Loc = tuple[str | int, ...]
"""The keys and indices that lead from the root to a value, as pydantic's ``loc``."""

_LINE_BREAK = re.compile(r"\r\n|\r|\n")
_UNPRINTABLE = re.compile(r"[^\t\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_WIDEST_LINE = 240
_LONGEST_MESSAGE = 1_000
_PLAIN_KEY = re.compile(r"[\w-]+")
_PATH_PART = re.compile(r"\[\d+\]|[\w-]+")


class Source:
    """A text that values came from.

    Attributes:
        name: What errors call it: a file as the user wrote it, or ``override 'a.b=c'``.
        text: All of it.
        folder: What relative paths in it are relative to; None for the current directory.
    """

    def __init__(self, name: str, text: str, folder: Path | None = None) -> None:
        self.name = name
        self.text = text
        self.folder = folder

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(match.end() for match in _LINE_BREAK.finditer(self.text))]

    def span(self, index: int) -> Span:
        """Line and column of the character at ``index``."""
        line = bisect_right(self._starts, index)
        return Span(self.name, line, index - self._starts[line - 1] + 1)

    def line(self, span: Span) -> str | None:
        """The line at ``span`` as it can be shown in a terminal; None where it is too wide to help."""
        if span.column > _WIDEST_LINE:
            return None
        start = self._starts[span.line - 1]
        line_break = _LINE_BREAK.search(self.text, start)
        end = min(line_break.start() if line_break else len(self.text), start + _WIDEST_LINE)
        return same_length(self.text[start:end])


@dataclass(frozen=True, slots=True)
class Place:
    """A character of a source."""

    source: Source
    index: int

    @property
    def span(self) -> Span:
        return self.source.span(self.index)

    def problem(self, code: str, message: str, path: Loc = ()) -> Problem:
        """A problem that stands here."""
        span = self.span
        return Problem(code, _message(message), dotted(path), span, self.source.line(span))


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a config.

    Attributes:
        value: A scalar, ``dict[str, Node]`` or ``list[Node]``; never changed in place: aliases share it.
        place: Where the value starts; None when no text wrote it.
        key: Where its key starts; None for the root, list items and values from Python.
        below: What it was merged over, uppermost first; each place once, and without its own ``below``.
    """

    value: Any
    place: Place | None = None
    key: Place | None = None
    below: tuple[Node, ...] = ()

    def over(self, base: Node) -> Node:
        """The same value, laid over ``base``."""
        # By place, since files that are extended on several ways would otherwise multiply.
        history = {node.place: node for node in (*self.below, replace(base, below=()), *base.below)}
        history.pop(self.place, None)
        return replace(self, below=tuple(history.values()))

    def plain(self) -> Any:
        """The values alone, as dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    @property
    def num_values(self) -> int:
        """This value and all below it."""
        return 1 + sum(child.num_values for _, child in self.children())

    def problem(self, code: str, message: str, path: Loc = ()) -> Problem:
        """A problem of this value, at its position if it has one."""
        place = self.place or self.key
        if place:
            return place.problem(code, message, path)
        return Problem(code, _message(message), dotted(path))

    def children(self) -> list[tuple[str | int, Node]]:
        """Keys or indices with their nodes; nothing for a scalar."""
        if isinstance(self.value, dict):
            return list(self.value.items())
        return list(enumerate(self.value)) if isinstance(self.value, list) else []

    def child(self, key: str | int) -> Node | None:
        """The value under a key or an index; None when there is none."""
        if isinstance(self.value, dict):
            return self.value.get(key) if isinstance(key, str) else None
        if isinstance(self.value, list) and isinstance(key, int) and 0 <= key < len(self.value):
            item: Node = self.value[key]
            return item
        return None


def same_length(text: str) -> str:
    """``text`` with a mark in place of each character that a terminal would act on: a caret still fits."""
    return _UNPRINTABLE.sub("\ufffd", text)


def _message(text: str) -> str:
    """``text`` as the message of a problem; of one that quotes a long value, the middle is left out."""
    if len(text) > _LONGEST_MESSAGE:
        half = _LONGEST_MESSAGE // 2
        text = f"{text[:half]} ... {text[-half:]}"
    return same_length(text)


def dotted(path: Loc) -> str:
    """``("a", "b", 0)`` as ``a.b[0]``; a key that would be hard to read in it is quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _PLAIN_KEY.fullmatch(part) else repr(part))
    return text


def loc_of(path: str) -> Loc:
    """The keys and indices of a path that :func:`dotted` wrote, without quoted keys."""
    return tuple(int(part[1:-1]) if part[0] == "[" else part for part in _PATH_PART.findall(path))


def key_fault(key: str) -> str | None:
    """What is wrong with ``key``; None when nothing is."""
    if not key:
        return "a key cannot be empty"
    if len(key) > MAX_KEY:
        return f"a key cannot be longer than {MAX_KEY} characters"
    return "a key cannot contain a dot: dots separate the parts of a path" if "." in key else None


def scalar_fault(value: Any) -> str | None:
    """What is wrong with a number or a string; None when nothing is, or when it is neither."""
    if isinstance(value, str) and len(value) > MAX_TEXT:
        return f"a string cannot be longer than {MAX_TEXT} characters"
    if isinstance(value, int) and abs(value) > MAX_INT:
        return "an integer cannot be larger than 64 bits"
    return "a number must be finite" if isinstance(value, float) and not math.isfinite(value) else None


def from_python(value: Any) -> Node:
    """The tree of a mapping (an OmegaConf one, too), without positions, under the rules of a YAML file.

    Raises:
        ConfigError: If a key is no string or cannot be one, or a value or the tree is outside the limits.
    """
    count = 0

    def build(value: Any, path: Loc) -> Node:
        nonlocal count
        count += 1
        if count > MAX_NODES or len(path) > MAX_DEPTH:
            limit = f"{MAX_NODES} values" if count > MAX_NODES else f"{MAX_DEPTH} levels"
            raise ConfigError(Problem("VC006", f"a config cannot have more than {limit}", dotted(path[:4])))
        value = _builtin(value)
        if isinstance(value, Mapping):
            children = {}
            for key, child in value.items():
                fault = key_fault(key) if isinstance(key, str) else "keys must be strings"
                if fault:
                    raise ConfigError(Problem("VC004", fault, dotted((*path, str(key)[:MAX_KEY]))))
                children[key] = build(child, (*path, key))
            return Node(children)
        if isinstance(value, (list, tuple)):
            return Node([build(child, (*path, i)) for i, child in enumerate(value)])
        if fault := scalar_fault(value):
            raise ConfigError(Problem("VC006", fault, dotted(path)))
        return Node(value)

    return build(value, ())


def _builtin(value: Any) -> Any:
    """Configs of pydantic and OmegaConf as mappings and lists; anything else as it is."""
    if isinstance(value, ConfigModel):
        # Its values were read already: what looks like a reference is a text.
        return escape_references(value.model_dump(mode="json", by_alias=True, exclude_unset=True))
    omegaconf = sys.modules.get("omegaconf")  # not loaded: then value is none of its containers
    if omegaconf is not None and omegaconf.OmegaConf.is_config(value):
        return omegaconf.OmegaConf.to_container(value, resolve=False)
    return value


def find(root: Node, path: Sequence[str | int]) -> tuple[Node, int]:
    """The deepest existing node on ``path``, and how many parts of it lead there."""
    node = root
    for depth, part in enumerate(path):
        child = node.child(part)
        if child is None:
            return node, depth
        node = child
    return node, len(path)
