"""One image of an input: what it is called, and where its bytes are."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

Content: TypeAlias = "str | bytes"
"""An image file: its path, or its bytes."""


class Row(NamedTuple):
    """One image of an input; a tuple, because a job may list tens of millions.

    Attributes:
        id: What to call it; unique unless the input names it twice.
        source: The input that it comes from, as it was given.
        kind: Which module of this package reads it.
        path: The file to open: the image, or what holds it.
        where: Numbers that find the image in a file that holds several.
        column: The column that holds it, in a table.
        problem: Why it cannot be read, if that is known already.
    """

    id: str
    source: str
    kind: str
    path: str
    where: tuple[int, ...] = ()
    column: str = ""
    problem: str = ""
