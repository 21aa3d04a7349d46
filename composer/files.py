"""Opening files that others name: regular files only, and no larger than expected; JSON within limits."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections import Counter
from collections.abc import Sequence
from io import BufferedReader
from typing import Any

_JSON_BYTES = 8 << 20
"""Largest JSON file that is read; a config.json with the names of 20,000 classes has 2 MiB."""
_JSON_VALUES = 200_000
_JSON_DEPTH = 32
_JSON_TEXT = 100_000
_JSON_KEY = 1_000

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def exists(path: str | os.PathLike[str]) -> bool:
    """Return whether there is a file or a folder of that name.

    ``Path.exists`` answers False to every error since Python 3.14, and does not say why.

    Raises:
        OSError: If that cannot be found out: the name is too long, or a folder may not be searched.
    """
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a null character
        return False
    return True


def open_regular(path: str | os.PathLike[str], *, limit: int) -> BufferedReader:
    """Open a file for reading, if it is a regular file of at most ``limit`` bytes.

    Never waits for a writer, as ``open`` does on a named pipe. Links are followed. A file that grows
    afterwards may give more than ``limit`` bytes; :func:`read_regular` checks what it has read.

    Raises:
        OSError: If there is no such file, it is of another kind, too large, or may not be read. ``strerror``
            says which, in words that need no error number.
    """
    name = os.fspath(path)
    try:
        # Before it is opened: a device may act on that, and a socket fails with a reason that nobody knows.
        _check(os.stat(name), name, limit)
        file = open(name, "rb", opener=_without_waiting)  # noqa: SIM115  # the caller closes it
    except ValueError:
        raise OSError(
            errno.EINVAL, "the name holds a null character, which no file name does", name
        ) from None
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "no such file", name) from None
    try:
        _check(os.fstat(file.fileno()), name, limit)  # another file may have taken its name
    except BaseException:
        file.close()
        raise
    return file


def read_regular(path: str | os.PathLike[str], *, limit: int) -> bytes:
    """Read a regular file of at most ``limit`` bytes.

    Raises:
        OSError: As :func:`open_regular`, or if more than ``limit`` bytes come out of it.
    """
    with open_regular(path, limit=limit) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise _too_large(len(content), os.fspath(path), limit)
    return content


def read_json(
    path: str | os.PathLike[str], *, limit: int = _JSON_BYTES, values: int = _JSON_VALUES
) -> dict[str, Any]:
    """Read a JSON object from a regular file.

    Args:
        path: The file.
        limit: The most bytes that it may have.
        values: The most values that it may hold, at all levels together.

    Raises:
        OSError: As :func:`read_regular`.
        ValueError: If it is not a JSON object in UTF-8, names a key twice, or is beyond a limit.
    """
    return parse_json(read_regular(path, limit=limit), values=values)


def parse_json(content: bytes, *, values: int = _JSON_VALUES) -> dict[str, Any]:
    """Read a JSON object from bytes.

    Raises:
        ValueError: As :func:`read_json`.
    """
    # Counted before anything is built; what stands in strings makes it an upper bound.
    if sum(map(content.count, (b",", b"[", b"{"))) > values:
        raise ValueError(f"it holds more than {values:,} values")
    try:
        value = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_without_duplicates)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise _too_deep() from None
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, not {type(value).__name__}")
    _check_sizes(value)
    return value


def _without_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if any(len(name) > _JSON_KEY for name in values):
        raise ValueError(f"it has a key of more than {_JSON_KEY:,} characters")
    if len(values) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice[:80]!r} is there twice")
    return values


def _check_sizes(value: dict[str, Any]) -> None:
    level: list[Any] = [value]
    for _ in range(_JSON_DEPTH):
        children = [child for each in level for child in (each.values() if isinstance(each, dict) else each)]
        if any(isinstance(child, str) and len(child) > _JSON_TEXT for child in children):
            raise ValueError(f"it holds a text of more than {_JSON_TEXT:,} characters")
        level = [child for child in children if isinstance(child, (dict, list))]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> ValueError:
    return ValueError(f"it is nested deeper than {_JSON_DEPTH} levels")


def _without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0))


def _check(status: os.stat_result, name: str, limit: int) -> None:
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG:
        number = errno.EISDIR if kind == stat.S_IFDIR else errno.EINVAL
        raise OSError(number, f"{_KINDS.get(kind, 'something special')}, not a regular file", name)
    if status.st_size > limit:
        raise _too_large(status.st_size, name, limit)


def _too_large(size: int, name: str, limit: int) -> OSError:
    return OSError(errno.EFBIG, f"{size:,} bytes or more; the limit is {limit:,} bytes", name)
