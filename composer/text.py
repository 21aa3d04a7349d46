"""Words of messages: the closest choice to a mistyped one, and text that is safe to print."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

# Controls of ASCII and Latin-1, separators of lines, and what changes the direction of writing.
_NOT_IN_A_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_NOT_IN_A_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def did_you_mean(word: object, choices: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the choice closest to ``word``, or "" when none is close."""
    close = closest(word, choices, most=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def closest(word: object, choices: Iterable[str], *, most: int) -> list[str]:
    """Return the choices that resemble ``word``, the closest first, and ``most`` of them at most."""
    # Letters and digits alone: QuickGELU, quick-gelu and quick_gelu are one word.
    named = {_bare(choice): choice for choice in choices}
    bare = _bare(str(word))
    close = difflib.get_close_matches(bare, named, n=most)
    if not close and len(bare) > 2:
        close = sorted((name for name in named if name.startswith(bare)), key=len)[:most]
    return [named[name] for name in close]


def _bare(word: str) -> str:
    return "".join(character for character in word.casefold() if character.isalnum())


def shortened(text: str) -> str:
    """Return text in quotes, cut where it is too long for a message."""
    return repr(text) if len(text) <= 100 else f"{text[:80]!r}... ({len(text):,} characters)"


def printable(text: str, *, line: bool = False) -> str:
    r"""Return text that a terminal shows as it is: control characters and the like as ``\x1b``.

    Args:
        text: Whatever a file's name, a config or a checkpoint may hold.
        line: Escape line breaks and tabs, too, so that one line stays one.
    """
    return (_NOT_IN_A_LINE if line else _NOT_IN_A_TEXT).sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
