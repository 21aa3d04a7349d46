"""What the references in a config refer to, found without resolving any, and refused unless each is plain.

OmegaConf's resolvers (``${name:...}``) read the environment and import modules, and references can multiply
a small file without end. A config is data, so all of that is found here, before OmegaConf resolves anything.
The parser is OmegaConf's own, which is outside its documented API: only this module touches it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from omegaconf.errors import OmegaConfBaseException
from omegaconf.grammar_parser import parse as parse_grammar

from ...errors import ConfigError, Problem
from ...text import did_you_mean
from .nodes import MAX_DEPTH, MAX_NODES, Loc, Node
from .problems import capped

_LONGEST = 1_000
"""Characters of a value with references; the parser is slow."""
_NESTED = re.compile(r"(?:(?<!\\)(?:\\\\)*\$\{[^{}]*){4}")
"""References inside one another, deeper than any error needs to see: the parser takes their depth squared."""
_WIDEST = 60
"""Characters of a reference that errors show."""
_LINK = 4
"""Levels that a reference counts for: OmegaConf follows it by recursion, over many frames."""
_CHUNK = 64
"""Characters of text that count as one value, so that text cannot be multiplied either."""
_HARMLESS = {
    "ConfigValueContext",
    "TextContext",
    "InterpolationContext",
    "ConfigKeyContext",
    "TerminalNodeImpl",
}


@dataclass(frozen=True, slots=True)
class Reference:
    """``${a.b}``, or with leading dots relative to the mapping or list that holds it.

    Attributes:
        text: As it is written.
        dots: Leading dots.
        parts: The keys and indices.
    """

    text: str
    dots: int
    parts: tuple[str, ...]

    def target(self, path: Loc) -> Loc | None:
        """The absolute path it means in the value at ``path``; None when that is above the root."""
        if self.dots > len(path):
            return None
        return (*path[: len(path) - self.dots], *self.parts) if self.dots else self.parts


@lru_cache(maxsize=1_024)
def references(text: str) -> tuple[list[Reference], bool]:
    """The references in ``text``, and whether it is nothing but one.

    Raises:
        ValueError: If not all references in it are plain; says why.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"a value with references cannot be longer than {_LONGEST} characters")
    if _NESTED.search(text):
        raise ValueError("references stand inside one another; write out the path")
    try:
        tree = parse_grammar(text)
        found = list(_plain(tree))
    except OmegaConfBaseException:
        raise ValueError("cannot be read as references like ${a.b}; write \\${ for a literal ${") from None
    except RecursionError:
        raise ValueError("references nested too deeply") from None
    return found, [reference.text for reference in found] == [text]


def _plain(context: Any) -> Iterator[Reference]:
    # By name: the parser's classes are generated, and live elsewhere in every version of OmegaConf. What has
    # an unknown name is refused, so that no version can bring in more than references.
    kind = type(context).__name__
    text = context.getText()
    if kind in _HARMLESS:
        for child in getattr(context, "children", None) or ():
            yield from _plain(child)
        return
    if kind != "InterpolationNodeContext":
        raise ValueError(
            f"{_short(text)} calls a resolver, which no config can; write a reference like ${{a.b}}"
        )
    inner = [child.getText() for child in context.children[1:-1]]
    for child in context.children:
        for nested in _plain(child):
            raise ValueError(f"{_short(nested.text)} stands inside another reference; write out the path")
    parts = tuple(part for part in inner if part not in (".", "[", "]"))
    if any("\\" in part for part in parts):
        raise ValueError(f"{_short(text)} has a backslash in its path")
    yield Reference(text, next((i for i, part in enumerate(inner) if part != "."), 0), parts)


def _short(text: str) -> str:
    return text if len(text) <= _WIDEST else text[: _WIDEST - 3] + "..."


class ReferenceCheck:
    """Follows every reference of a config once, expanding none."""

    def __init__(self, root: Node) -> None:
        self._root = root
        self._problems: list[Problem] = []
        # Per path: how many values are in the one there and how many levels deep, references expanded.
        # None while it is being measured.
        self._sizes: dict[Loc, tuple[int, int] | None] = {}

    def run(self) -> None:
        """Measure the config with its references expanded.

        Raises:
            ConfigError: If references are not plain, or lead to nothing, in a circle, or to too much.
        """
        values, levels = self._size(self._root, (), 0)
        if not self._problems and (values > MAX_NODES or levels > MAX_DEPTH):
            limit = f"{MAX_NODES} values" if values > MAX_NODES else f"{MAX_DEPTH} levels"
            self._problem(self._root, (), f"with its references, the config exceeds {limit}", "VC006")
        if self._problems:
            raise ConfigError(capped(self._problems))

    def _problem(self, node: Node, path: Loc, message: str, code: str = "VC008") -> None:
        self._problems.append(node.problem(code, message, path))

    def _size(self, node: Node, path: Loc, depth: int) -> tuple[int, int]:
        if path in self._sizes:
            size = self._sizes[path]
            if size is None:
                self._problem(node, path, "refers to itself, directly or in a circle")
            return size or (0, 0)
        if depth > MAX_DEPTH:
            message = f"nested deeper than {MAX_DEPTH} levels, of which each reference counts for {_LINK}"
            self._problem(node, path, message, "VC006")
            return 0, 0
        self._sizes[path] = None
        step = _LINK if isinstance(node.value, str) else 1
        below = [self._size(child, where, depth + step) for child, where in self._below(node, path)]
        text = len(node.value) // _CHUNK if isinstance(node.value, str) else 0
        size = (
            1 + text + sum(values for values, _ in below),
            max((step + levels for _, levels in below), default=0),
        )
        self._sizes[path] = size
        return size

    def _below(self, node: Node, path: Loc) -> Iterator[tuple[Node, Loc]]:
        """What makes up the value at ``path``: children, or what its references refer to."""
        for key, child in node.children():
            yield child, (*path, key)
        if not (isinstance(node.value, str) and "${" in node.value):
            return
        try:
            found, _ = references(node.value)
        except ValueError as error:
            self._problem(node, path, str(error))
            return
        for reference in found:
            target = self._follow(reference, path)
            if isinstance(target, str):
                self._problem(
                    node, path, f"{_short(reference.text)} refers to nothing that is written here{target}"
                )
            else:
                yield target

    def _follow(self, reference: Reference, path: Loc) -> tuple[Node, Loc] | str:
        """The node that a reference means, through other references on the way; a hint when there is none."""
        target = reference.target(path)
        for _ in range(MAX_DEPTH // _LINK):
            if target is None:
                break
            node = self._root
            at: Loc = ()
            rest = list(target)
            while rest and (step := _step(node, rest[0])):
                node, at = step[0], (*at, step[1])
                del rest[0]
            if not rest:
                return node, at
            if not (isinstance(node.value, str) and "${" in node.value):
                return did_you_mean(rest[0], node.value) if isinstance(node.value, dict) else ""
            onward = self._only(node)
            beyond = onward.target(at) if onward else None
            target = None if beyond is None else (*beyond, *rest)
        return ""

    @staticmethod
    def _only(node: Node) -> Reference | None:
        try:
            found, alone = references(node.value)
        except ValueError:
            return None
        return found[0] if alone else None


def _step(node: Node, part: str | int) -> tuple[Node, str | int] | None:
    if isinstance(node.value, list):
        # No negative ones: OmegaConf 2.3 does not follow them.
        if not str(part).isdecimal():
            return None
        part = int(part)
    child = node.child(part)
    return None if child is None else (child, part)
