"""A changed config written back into its text: what was not changed keeps every byte.

ruamel.yaml keeps comments, but writes indents, spaces, nulls and line breaks in its own way. So it writes the
file twice, as it was and as it should be; the lines in which these two differ are what was really changed,
and only they are carried over into the text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from difflib import SequenceMatcher
from io import StringIO
from itertools import pairwise
from typing import Any

from ...errors import ConfigError, MissingDependencyError, Problem, Span
from ..root import SCHEMA_VERSION
from .reading import load_yaml

MAX_REWRITTEN_BYTES = 1 << 15
"""Size of a file that is rewritten; ruamel.yaml takes about 10 µs for a character."""
MAX_REWRITTEN_VALUES = 1_000
"""Values in such a file; ruamel.yaml takes about a millisecond for each."""

Change = Callable[[dict[str, Any]], None]

_BREAK = r"(?>\r\n|\r|\n)"
_HEAD = re.compile(rf"\ufeff?(?:(?:[ %#][^\r\n]*)?{_BREAK})*+---[ \t]*(?:#[^\r\n]*)?{_BREAK}|\ufeff")
"""What stands before a document: a byte order mark, directives and comments up to the line of dashes."""
_LINE = re.compile(rf"([^\r\n]*)({_BREAK}|$)")
_BLOCK = re.compile(r"^[\w-]+: *(?:&\S+ *)?(?:#.*)?\n(?: *(?:#.*)?\n)*( +)[\w'\"]", re.MULTILINE)
"""A key and the first line of the block below it."""
_SPACE = re.compile(r"\s+")


def rewritten(text: str, source: str, change: Change) -> str:
    """``text`` with its root mapping changed.

    Args:
        text: A document that ``load_yaml`` reads.
        source: What errors call it.
        change: Changes a mapping in place; called with ruamel's tree and with plain values.

    Raises:
        ConfigError: If the text is too large, or ruamel cannot carry the change into it.
        MissingDependencyError: If ruamel.yaml is not installed.
    """
    tree = load_yaml(text, source)
    if len(text.encode()) > MAX_REWRITTEN_BYTES:
        raise _cannot(source, f"it is larger than {MAX_REWRITTEN_BYTES >> 10} KiB")
    if tree.num_values > MAX_REWRITTEN_VALUES:
        raise _cannot(source, f"it holds more than {MAX_REWRITTEN_VALUES} values")
    wanted = tree.plain()
    change(wanted)
    head = _HEAD.match(text)
    body = text[head.end() :] if head else text
    unix = re.sub(_BREAK, "\n", body)
    before, after = _as_ruamel_writes(unix, source, None), _as_ruamel_writes(unix, source, change)
    for candidate in (_carried_over(body, before, after), after):
        if candidate is None or not _comments(body) <= _comments(candidate):
            continue
        result = text.removesuffix(body) + candidate
        if _plain(result, source) == wanted:
            return result
    raise _cannot(source, "its comments or values would not survive")


def _as_ruamel_writes(text: str, source: str, change: Change | None) -> str:
    try:
        from ruamel.yaml import YAML
    except ImportError as error:
        raise MissingDependencyError(
            "to rewrite a config, ruamel.yaml is needed, which is not installed: "
            "pip install 'vision-composer[migrate]'"
        ) from error
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 1 << 30  # never breaks a line
    if block := _BLOCK.search(text):
        yaml.map_indent = len(block[1])
    written = StringIO()
    try:
        tree = yaml.load(text)
        if change:
            change(tree)
        yaml.dump(tree, written)
    except Exception as error:  # whatever a text that load_yaml reads does to another parser
        reason = getattr(error, "problem", None) or type(error).__name__
        raise _cannot(source, f"ruamel.yaml: {reason}") from None
    return written.getvalue()


def _carried_over(text: str, before: str, after: str) -> str | None:
    """The lines in which ``after`` differs from ``before``, in ``text``; None where they have no place."""
    lines = [(match[1], match[2]) for match in _LINE.finditer(text)]
    if len(lines) > 1 and lines[-1] == ("", ""):
        lines.pop()
    line_break = lines[0][1] or "\n"
    old, new = before.split("\n")[:-1], after.split("\n")[:-1]
    places = _places(old, [line for line, _ in lines])
    for kind, i, end, j, stop in reversed(SequenceMatcher(None, old, new).get_opcodes()):
        if kind == "equal":
            continue
        there = [places.get(line) for line in range(i, max(end, i + 1))]
        found = [place for place in there if place is not None]
        if len(found) < len(there) or any(a.stop != b.start for a, b in pairwise(found)):
            return None
        start = found[0].start
        lines[start : found[-1].stop if end > i else start] = [(line, line_break) for line in new[j:stop]]
    # The last line of a file may go without a line break, the others may not.
    return "".join(line + (end or line_break) for line, end in lines[:-1]) + "".join(lines[-1])


def _places(old: list[str], lines: list[str]) -> dict[int, range]:
    """For ruamel's lines, the lines of the text that say the same; without those that are not known."""
    places = {len(old): range(len(lines), len(lines))}
    bare, bare_lines = ([_SPACE.sub("", line) for line in each] for each in (old, lines))
    matcher = SequenceMatcher(None, bare, bare_lines)
    for _, i, end, j, stop in matcher.get_opcodes():
        if end - i == stop - j:
            places.update((i + k, range(j + k, j + k + 1)) for k in range(end - i))
        else:  # where the first one begins is known, and how far it goes if it is the only one
            places[i] = range(j, stop if end - i == 1 else j)
    return places


def _comments(text: str) -> Counter[str]:
    """The ends of lines that may be comments."""
    return Counter(line[line.index("#") :].rstrip() for line in re.split(r"[\r\n]", text) if "#" in line)


def _plain(text: str, source: str) -> Any:
    try:
        return load_yaml(text, source).plain()
    except ConfigError:
        return None


def _cannot(source: str, reason: str) -> ConfigError:
    message = f"cannot be migrated with its layout kept ({reason}); write schema: {SCHEMA_VERSION} by hand"
    return ConfigError(Problem("VC002", message, span=Span(source)))
