"""Opening files that others name: regular files only, and no larger than expected."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


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
