"""YAML text to located nodes: YAML 1.2 core scalars, no tags, no duplicate keys, and limits on everything."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from ...errors import ConfigError
from ...files import read_regular
from .nodes import MAX_BYTES, MAX_DEPTH, MAX_NODES, Loc, Node, Place, Source, key_fault, scalar_fault
from .syntax import explained

_PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# YAML 1.1 reads a leading zero as octal, YAML 1.2 as decimal: such a text stays a string.
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+")
_DIGITS = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_NO_KEY = "a key must be a plain string; quote a text that begins with { or ["
_TOO_LARGE = f"a config cannot be larger than {MAX_BYTES >> 20} MiB"
_MOST_DIGITS = 24  # more than any 64-bit integer has in any base; Python refuses to convert thousands


def load_yaml(text: str | bytes, source: str, folder: Path | None = None) -> Node:
    """Parse one YAML document whose root is a mapping.

    Args:
        text: The document; bytes are decoded as UTF-8, with or without a byte order mark.
        source: What errors call it, usually the file's name.
        folder: What relative paths in it are relative to; None for the current directory.

    Raises:
        ConfigError: If the text is no such document; says where it goes wrong.
    """
    if len(text) > MAX_BYTES:
        raise _error(Source(source, ""), 0, "VC006", _TOO_LARGE)
    decoded = _decode(text, source) if isinstance(text, bytes) else text
    where = Source(source, decoded.removeprefix("\ufeff"), folder)
    root = parse(where)
    if root.value is None:
        raise _error(where, 0, "VC002", "the document is empty; a config starts with schema: 1")
    if not isinstance(root.value, dict):
        raise ConfigError(root.problem("VC103", "the root of a config must be a mapping, such as schema: 1"))
    return root


def read_yaml(path: Path, source: str) -> Node:
    """Parse the file at ``path``; ``source`` is what errors call it.

    Raises:
        ConfigError: If it cannot be read, or ``load_yaml`` refuses its content.
    """
    return _load_file(read_bytes(path, source), source, path.parent)


def read_bytes(path: Path, source: str) -> bytes:
    """Read the file at ``path``; ``source`` names it in errors.

    Raises:
        ConfigError: If it cannot be read, is no regular file, or is too large.
    """
    try:
        return read_regular(path, limit=MAX_BYTES)
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise _error(Source(source, ""), 0, "VC006", _TOO_LARGE) from None
        raise _error(Source(source, ""), 0, "VC001", f"cannot be read: {error.strerror}") from None


@lru_cache(maxsize=64)
def _load_file(content: bytes, source: str, folder: Path) -> Node:
    # Keyed by content, not by mtime: a preset that many files extend is parsed once, and never stale.
    return load_yaml(content, source, folder)


def parse(source: Source, text: str | None = None) -> Node:
    """Parse one YAML document of any kind; null where there is none.

    Args:
        source: Where the document stands, for positions.
        text: The document, its characters at the same indices as in the source; None for all of it.

    Raises:
        ConfigError: If the text is not one valid document; says where it goes wrong.
    """
    text = source.text if text is None else text
    if bad := _FORBIDDEN.search(text):
        raise _error(source, bad.start(), "VC002", f"character U+{ord(bad[0]):04X} is not allowed in YAML")
    return _Builder(source, text).document()


def _error(source: Source, index: int, code: str, message: str, path: Loc = ()) -> ConfigError:
    return ConfigError(Place(source, index).problem(code, message, path))


def _no_tags(tag: str) -> str:
    return f"YAML tags are not allowed; remove {tag.replace('tag:yaml.org,2002:', '!!')}"


def _decode(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        index = len(data[: error.start].decode("utf-8"))
        message = f"not UTF-8: byte 0x{data[error.start]:02x} cannot stand here; save the file as UTF-8"
        raise _error(Source(name, data.decode("utf-8", "replace")), index, "VC001", message) from None


class _Builder:
    """Builds nodes from libyaml's events, and stops at the first thing that is not allowed.

    Events, not composed nodes: nothing is expanded before it is counted, and errors in aliases stand there.
    """

    def __init__(self, source: Source, text: str) -> None:
        self._source = source
        self._text = text
        self._events = self._parse()
        self._count = 0
        self._open_anchors: set[str] = set()
        # Per anchor: the node, its values and its levels, aliases expanded.
        self._anchors: dict[str, tuple[Node, int, int]] = {}
        self._deepest = 0

    def _parse(self) -> Iterator[Any]:
        try:
            yield from yaml.parse(self._text, Loader=_PARSER)
        except yaml.MarkedYAMLError as error:
            index, message = explained(error, self._text)
            raise _error(self._source, index, "VC002", message) from None
        except yaml.YAMLError as error:
            raise _error(self._source, 0, "VC002", f"not valid YAML: {error}") from None

    def document(self) -> Node:
        next(self._events)  # the stream's start
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return Node(None, Place(self._source, 0))
        root = self._value(next(self._events), (), None)
        next(self._events)  # the document's end
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._refuse(after, "VC002", "a second document starts here; a file holds one config")
        return root

    def _place(self, event: Any) -> Place:
        return Place(self._source, event.start_mark.index)

    def _refuse(self, event: Any, code: str, message: str, path: Loc = ()) -> ConfigError:
        return ConfigError(self._place(event).problem(code, message, path))

    def _spend(self, event: Any, path: Loc, values: int = 1, levels: int = 0) -> None:
        """Count values and levels against the limits."""
        self._count += values
        self._deepest = max(self._deepest, len(path) + levels)
        if self._count > MAX_NODES:
            raise self._refuse(event, "VC006", f"a config cannot have more than {MAX_NODES} values")
        if self._deepest > MAX_DEPTH:
            raise self._refuse(event, "VC006", f"a config cannot be nested deeper than {MAX_DEPTH} levels")

    def _value(self, event: Any, path: Loc, key: Place | None) -> Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path, key)
        if event.tag is not None:
            raise self._refuse(event, "VC005", _no_tags(event.tag), path)
        anchor: str | None = event.anchor
        if anchor is None:
            return self._content(event, path, key)
        count, deepest = self._count, self._deepest
        self._deepest = len(path)
        self._open_anchors.add(anchor)
        node = self._content(event, path, key)
        self._open_anchors.discard(anchor)
        self._anchors[anchor] = (node, self._count - count, self._deepest - len(path))
        self._deepest = max(deepest, self._deepest)
        return node

    def _alias(self, event: Any, path: Loc, key: Place | None) -> Node:
        name = event.anchor
        if name in self._open_anchors:
            raise self._refuse(event, "VC002", f"alias *{name} stands inside its own anchor &{name}", path)
        if name not in self._anchors:
            raise self._refuse(event, "VC002", f"alias *{name} has no anchor &{name} before it", path)
        node, values, levels = self._anchors[name]
        self._spend(event, path, values, levels)
        return replace(node, key=key)

    def _content(self, event: Any, path: Loc, key: Place | None) -> Node:
        self._spend(event, path)
        place = self._place(event)
        if isinstance(event, yaml.ScalarEvent):
            return Node(self._scalar(event, path), place, key)
        if isinstance(event, yaml.MappingStartEvent):
            return Node(self._mapping(path), place, key)
        items: list[Node] = []
        while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(item, (*path, len(items)), None))
        return Node(items, place, key)

    def _mapping(self, path: Loc) -> dict[str, Node]:
        children: dict[str, Node] = {}
        merged: dict[str, Node] | None = None
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]:
                if merged is not None:
                    raise self._refuse(event, "VC003", "duplicate key '<<'; it takes a list, too", path)
                merged = self._merged(next(self._events), path)
                continue
            name = self._key(event, path)
            if name in children:
                first = children[name].key
                where = f"; first at {first.span}" if first else ""
                raise self._refuse(event, "VC003", f"duplicate key{where}", (*path, name))
            children[name] = self._value(next(self._events), (*path, name), self._place(event))
        return {**merged, **children} if merged else children

    def _key(self, event: Any, path: Loc) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise self._refuse(event, "VC004", _NO_KEY, path)
        if event.tag is not None:
            raise self._refuse(event, "VC005", _no_tags(event.tag), path)
        name = event.value
        if fault := key_fault(name):
            raise self._refuse(event, "VC004", fault, path)
        if not isinstance(self._scalar(event, path), str):
            raise self._refuse(event, "VC004", f"a key must be a string; quote it: '{name}'", path)
        if event.anchor is not None:
            self._anchors[event.anchor] = (Node(name, self._place(event)), 1, 0)
        return str(name)

    def _merged(self, event: Any, path: Loc) -> dict[str, Node]:
        """The keys that a merge key brings in; of several mappings, the earlier one wins."""
        node = self._value(event, path, None)
        result: dict[str, Node] = {}
        for mapping in node.value if isinstance(node.value, list) else [node]:
            if not isinstance(mapping.value, dict):
                message = "merge key '<<' takes a mapping or a list of mappings"
                raise self._refuse(event, "VC004", message, path)
            for name, child in mapping.value.items():
                result.setdefault(name, child)
        return result

    def _scalar(self, event: Any, path: Loc) -> Any:
        text = event.value
        value: Any = text
        if not event.implicit[0]:  # quoted, or a block scalar
            pass
        elif text in _CONSTANTS:
            return _CONSTANTS[text]
        elif _INT.fullmatch(text):
            # int(text, 0) reads 0o and 0x prefixes as YAML 1.2 writes them.
            value = int(text, 0) if len(text) <= _MOST_DIGITS else 1 << 64
        elif _NOT_FINITE.fullmatch(text):
            value = float("nan")
        elif _FLOAT.fullmatch(text) and not _DIGITS.fullmatch(text):
            value = float(text)
        if fault := scalar_fault(value):
            raise self._refuse(event, "VC006", fault, path)
        return value
