"""WebDataset's tar archives: images one after the other, found by their offset."""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from ...errors import ImageError, InputError
from ...files import open_regular
from ...images.limits import MAX_WHOLE_BYTES
from .files import extension, image_extensions
from .row import Row

KIND = "tar"
_DAMAGED = (tarfile.TarError, ValueError, OverflowError)
"""What tarfile raises for headers that make no sense."""
_LARGEST = 1 << 50


def rows(source: str) -> Iterator[Row]:
    """Yield the images of an archive in their order, known by their extensions.

    If the archive is cut off or damaged, the last row says so, and has no image.

    Raises:
        InputError: If it is no tar archive, is compressed, or holds no images.
    """
    extensions = image_extensions()
    found = 0
    try:
        with (
            open_regular(source, limit=sys.maxsize) as file,
            tarfile.open(fileobj=file, mode="r:") as archive,
        ):
            while True:
                try:
                    member = archive.next()
                    if member is not None and not 0 <= member.size <= _LARGEST:
                        raise tarfile.TarError(f"{member.size} bytes are no size of a file")
                except _DAMAGED as error:
                    problem = f"the archive is cut off or damaged: {error}"
                    yield Row(source, source, KIND, source, problem=problem)
                    return
                archive.members.clear()  # type: ignore[attr-defined]  # or all headers stay in memory
                if member is None:
                    break
                if member.isreg() and extension(member.name) in extensions:
                    found += 1
                    where = (member.offset_data, member.size)
                    yield Row(f"{source}/{member.name}", source, KIND, source, where)
            if not _ends_at(archive.offset, file):
                problem = f"the archive is damaged: no file begins at byte {archive.offset:,}"
                yield Row(source, source, KIND, source, problem=problem)
                return
    except _DAMAGED as error:
        raise InputError(f"{source}: not a tar archive without compression: {error}") from error
    except OSError as error:
        raise InputError(f"{source}: cannot be read: {error.strerror or error}") from error
    if not found:
        raise InputError(f"{source}: holds no images")


def _ends_at(offset: int, file: BinaryIO) -> bool:
    """Whether an archive ends there: a block of zeros follows, or nothing. tarfile ends at any block."""
    file.seek(offset)
    return not any(file.read(tarfile.BLOCKSIZE))


def load(row: Row) -> bytes:
    """Return the bytes of the image.

    Raises:
        ImageError: If the archive ends in it, or it is too large.
    """
    offset, size = row.where
    if size > MAX_WHOLE_BYTES:
        raise ImageError(row.id, f"{size:,} bytes; the limit in an archive is {MAX_WHOLE_BYTES:,}")
    with open_regular(row.path, limit=sys.maxsize) as file:
        file.seek(offset)
        content = file.read(size)
    if len(content) < size:
        raise ImageError(row.id, "the archive ends inside this file")
    return content
