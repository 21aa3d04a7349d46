"""Words of messages: the closest choice to a mistyped one, lists, and numbers of things."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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
