"""A config, a plan or an encoder in a few lines, for print and for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_NAMELESS = "config without a name"

Rows = Sequence[tuple[str, str]]
"""What a line is about, and what it says."""


def as_text(name: str | None, rows: Rows) -> str:
    """Return lines below a name, in two columns."""
    width = max(len(about) for about, _ in rows)
    return "\n".join([name or _NAMELESS, *(f"  {about:{width}}  {said}" for about, said in rows)])


def as_html(name: str | None, rows: Rows) -> str:
    """Return the same as a table of HTML."""
    cells = "".join(f"<tr><th>{escape(about)}</th><td>{escape(said)}</td></tr>" for about, said in rows)
    return f"<table><caption>{escape(name or _NAMELESS)}</caption>{cells}</table>"
