"""Which column of a table holds the images, if nobody says."""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import InputError
from ...text import did_you_mean

_USUAL = frozenset(
    (
        *("image", "img", "bytes", "image_bytes", "jpg", "jpeg", "png", "webp"),
        *("path", "image_path", "file", "file_path", "file_name", "filename"),
    )
)


def column_of(table: str, columns: Sequence[str], wanted: str | None) -> str:
    """Return the column that is wanted, or without a wish the only one with a usual name.

    Raises:
        InputError: If there is no such column, or there are several.
    """
    listed = ", ".join(columns[:20]) or "none"
    if wanted is not None:
        if wanted not in columns:
            hint = did_you_mean(wanted, columns)
            raise InputError(f"{table}: has no column {wanted!r}{hint}; its columns: {listed}")
        if columns.count(wanted) > 1:
            raise InputError(f"{table}: has several columns {wanted!r}; give that of the images another name")
        return wanted
    usual = [name for name in columns if name.lower() in _USUAL]
    if len(usual) != 1:
        raise InputError(
            f"{table}: nothing says which column has the images; name it with --column (in Python column=); "
            f"its columns: {listed}"
        )
    return usual[0]
