"""One check of many things, which names all that do not pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def offenders(check: Callable[[T], None], things: Iterable[T]) -> list[str]:
    """Run a check on every one of some things.

    Args:
        check: Raises if one does not pass.
        things: What to check; at least one.

    Returns:
        What does not pass, each with the reason.
    """
    found, count = [], 0
    for count, thing in enumerate(things, start=1):  # noqa: B007
        try:
            check(thing)
        except Exception as error:  # whatever a check raises, the others are to be checked too
            found.append(f"{thing}: {type(error).__name__}: {error}")
    assert count, "nothing was checked"
    return found
