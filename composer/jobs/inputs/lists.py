"""Lists of image files: a text of one path a line, a CSV file with a column of paths, or standard input."""

from __future__ import annotations

import csv
import os
import sys
from codecs import BOM_UTF8
from collections.abc import Iterator
from io import BufferedReader, TextIOWrapper
from typing import BinaryIO

from ...errors import InputError
from ...files import open_regular
from . import files
from .columns import column_of
from .row import Row

STANDARD_INPUT = "-"
_MOST_BYTES = 1 << 16
"""Longest path that is read; Linux allows 4,096 bytes."""


def text_rows(source: str) -> Iterator[Row]:
    """Yield the files that a text lists, one a line; paths count from its folder.

    A text that holds null characters is split at these instead, as ``find -print0`` writes it, so that names
    may hold line breaks. Of standard input, paths count from the current folder.

    Raises:
        InputError: If it cannot be read, or a line is too long to be a path.
    """
    if source == STANDARD_INPUT:
        yield from _lines(sys.stdin.buffer, source, "")
        return
    with _opened(source) as file:
        yield from _lines(file, source, _folder_of(source))


def csv_rows(source: str, column: str | None) -> Iterator[Row]:
    """Yield the files in a column of a CSV file that begins with a header; paths count from its folder.

    Raises:
        InputError: If it cannot be read, or nothing says which column has the paths.
    """
    folder = _folder_of(source)
    with _opened(source) as file:
        text = TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        table = csv.reader(text)
        try:
            header = next(table, [])
            index = header.index(column_of(source, header, column))
            for cells in table:
                if len(cells) > index and cells[index]:
                    yield _row(cells[index], source, folder)
        except csv.Error as error:
            raise InputError(f"{source}: line {table.line_num}: {error}") from error


def _folder_of(source: str) -> str:
    """Return what stands in front of the names that a list counts from its folder."""
    return os.path.join(os.path.dirname(source), "")


def _opened(source: str) -> BufferedReader:
    try:
        return open_regular(source, limit=sys.maxsize)
    except OSError as error:
        raise InputError(f"{source}: cannot be read: {error.strerror}") from error


def _lines(file: BinaryIO, source: str, folder: str) -> Iterator[Row]:
    rest, separator = file.read(_MOST_BYTES).removeprefix(BOM_UTF8), b"\n"
    if b"\0" in rest:
        separator = b"\0"
    while rest:
        *paths, last = rest.split(separator)
        for path in paths:
            if name := path.rstrip(b"\r") if separator == b"\n" else path:
                yield _row(os.fsdecode(name), source, folder)
        if len(last) > _MOST_BYTES:
            raise InputError(f"{source}: a line of more than {_MOST_BYTES:,} bytes is no path")
        more = file.read(_MOST_BYTES)
        rest = last + more if more else (last + separator if last else b"")


def _row(path: str, source: str, folder: str) -> Row:
    if "://" in path:
        raise InputError(f"{source}: {path[:200]!r} is no file: download what addresses name first")
    whole = path if path.startswith(os.sep) else folder + path
    return Row(whole, source, files.KIND, whole)
