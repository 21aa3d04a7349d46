"""What decoding one image may cost, and what all images together may hold in memory at once."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, BytesIO
from itertools import zip_longest
from typing import Any, Literal

from PIL import Image

from ..files import open_regular

MAX_PIXELS = 178_956_970
"""Largest image that is decoded, and largest that one is resized to: 512 MiB as 8-bit RGB."""

MAX_BYTES = 2**31
"""Most memory for all images that are decoded at one time, by an estimate; threads share it."""

MAX_FILE_BYTES = 2**30
"""Largest image file."""

MAX_WHOLE_BYTES = 2**28
"""Largest image file of a format that has to be in memory as a whole before it is decoded."""

MAX_SECONDS = 20.0
"""Computing time after which decoding is given up, the next time that it reads from the file."""

MAX_SCANNED_PIXELS = 10 * MAX_PIXELS
"""Most pixels of a JPEG, each counted once for every scan over it; a progressive one has ten scans mostly."""

_BYTES_PER_PIXEL = 12
"""What it takes to decode an image, convert it to RGB and turn it, where nothing below says more."""

_JPEG_MARKER = re.compile(rb"\xff([\xc0-\xcf\xd9-\xfe])")
"""Markers that a length follows, and the end. The others, also those that do not exist, are passed over."""

_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_COMPRESSION, _JPEG_IN_TIFF = 259, (6, 7)
_MOST_TAGS = 1 << 16
_STRIP_OFFSETS, _STRIP_BYTES, _TILE_OFFSETS, _TILE_BYTES = 273, 279, 324, 325


class LimitError(ValueError):
    """An image that would take too much time or memory; the message says which, without the image's name."""


class TimedFile(BufferedReader):
    """An image file that cannot be read on when decoding has taken too long.

    The computing time of the thread counts, so that a busy machine makes no image fail. A decoder that reads
    nothing more cannot be stopped; its time is bounded by the number of pixels.

    Args:
        content: Where the file is, or the bytes of a file that lies in memory.

    Raises:
        OSError: If it is no regular file of at most ``MAX_FILE_BYTES``; ``strerror`` says what is wrong.
    """

    def __init__(self, content: str | bytes) -> None:
        if isinstance(content, bytes):
            super().__init__(BytesIO(content))
            self._size = len(content)
        else:
            super().__init__(open_regular(content, limit=MAX_FILE_BYTES).detach())
            self._size = os.fstat(self.fileno()).st_size
        # A thread computes no longer than it runs, whose time is asked for in no time.
        self._soonest, self._end = time.perf_counter() + MAX_SECONDS, time.thread_time() + MAX_SECONDS

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as a file does, but all of it only if ``MAX_WHOLE_BYTES`` hold it.

        Raises:
            LimitError: If time is up, or the rest of the file is too large.
        """
        if time.perf_counter() > self._soonest:  # asked here, because a decoder reads dozens of times
            self._check_time()
        if size is not None and size >= 0:
            return super().read(size)
        # Not the limit alone: Python would set that much memory aside for a file of a few bytes.
        rest = super().read(min(self._size, MAX_WHOLE_BYTES) + 1)
        if len(rest) > MAX_WHOLE_BYTES:
            raise LimitError(f"the file has more than the limit of {MAX_WHOLE_BYTES:,} bytes for its format")
        return rest

    def readline(self, size: int | None = -1, /) -> bytes:
        """Read a line as a file does.

        Raises:
            LimitError: If time is up.
        """
        self._check_time()
        return super().readline(MAX_WHOLE_BYTES if size is None or size < 0 else size)

    def _check_time(self) -> None:
        if time.thread_time() > self._end:
            raise LimitError(f"it takes more than the limit of {MAX_SECONDS:g} seconds to decode")


class Budget:
    """Bytes that threads share: who wants more than is left waits until others give theirs back."""

    def __init__(self) -> None:
        self._taken = 0
        self._changed = threading.Condition()

    @contextmanager
    def taking(self, size: int) -> Iterator[None]:
        """Hold ``size`` bytes. A thread that holds some must not ask for more, or two may wait for ever.

        Raises:
            LimitError: If it is more than there is when nobody else holds any.
        """
        if size > MAX_BYTES:
            raise LimitError(f"decoding it takes about {size:,} bytes, more than the limit of {MAX_BYTES:,}")
        with self._changed:
            self._changed.wait_for(lambda: self._taken + size <= MAX_BYTES)
            self._taken += size
        try:
            yield
        finally:
            with self._changed:
                self._taken -= size
                self._changed.notify_all()


def decoding_bytes(image: Image.Image) -> int:
    """Estimate what memory it takes to decode an image and to convert it to RGB; rather too much."""
    per_pixel = 16 if image.mode in ("I", "F") or image.format in ("AVIF", "WEBP") else _BYTES_PER_PIXEL
    if image.format == "JPEG2000":  # every channel in 32 bits beside the image
        per_pixel = {"L": 12, "RGB": 16}.get(image.mode, 25)
    return _pixels(image) * per_pixel


def check_scans(image: Image.Image, file: TimedFile) -> None:
    """Refuse a JPEG, or a TIFF made of JPEGs, that goes over its pixels too often; other formats cannot.

    Raises:
        LimitError: If the scans together cover more than ``MAX_SCANNED_PIXELS``.
    """
    most = MAX_SCANNED_PIXELS // max(_pixels(image), 1)
    start = file.tell()
    for jpeg in _jpegs(image, file):
        # Counting bytes takes next to no time, and finds at least as many.
        if jpeg.count(bytes((0xFF, _START_OF_SCAN))) > most and _scans(jpeg) > most:
            size = f"{image.width}x{image.height}"
            raise LimitError(f"a JPEG of {size} pixels has more than {most} scans, which take too long")
    file.seek(start)


def _jpegs(image: Image.Image, file: TimedFile) -> Iterator[bytes]:
    """Yield the JPEGs that are decoded: the file, or those that cover a TIFF, each a part of its pixels."""
    if image.format in ("JPEG", "MPO"):
        file.seek(0)
        yield file.read()
    tags: Any = getattr(image, "tag_v2", {})
    if image.format == "TIFF" and tags.get(_COMPRESSION) in _JPEG_IN_TIFF:
        if _repeats_tags(file):  # libtiff believes the first of equal tags, and Pillow the last
            raise LimitError("it says a tag twice, so that two decoders would see two images")
        for offsets, lengths in ((_STRIP_OFFSETS, _STRIP_BYTES), (_TILE_OFFSETS, _TILE_BYTES)):
            for offset, length in set(zip_longest(tags.get(offsets, ()), tags.get(lengths, ()), fillvalue=0)):
                file.seek(offset)
                yield file.read(length if 0 < length <= MAX_WHOLE_BYTES else -1)  # libtiff guesses a zero


def _repeats_tags(file: TimedFile) -> bool:
    """Whether the first directory of a TIFF, or of a BigTIFF, holds two entries of one tag."""
    file.seek(0)
    head = file.read(16)
    order: Literal["little", "big"] = "little" if head[:2] == b"II" else "big"
    is_big = int.from_bytes(head[2:4], order) == 43
    entry, count, offset = (20, 8, head[8:16]) if is_big else (12, 2, head[4:8])
    file.seek(int.from_bytes(offset, order))
    entries = file.read(entry * min(int.from_bytes(file.read(count), order), _MOST_TAGS))
    tags = [entries[start : start + 2] for start in range(0, len(entries), entry)]
    return len(set(tags)) < len(tags)


def _scans(jpeg: bytes) -> int:
    """Count the scans of a JPEG as libjpeg meets them: up to its end, and not those of a thumbnail."""
    scans = position = 0
    while marker := _JPEG_MARKER.search(jpeg, position):
        code, position = marker[1][0], marker.end()
        if code == _END_OF_IMAGE:
            break
        position += int.from_bytes(jpeg[position : position + 2], "big")
        scans += code == _START_OF_SCAN
    return scans


def _pixels(image: Image.Image) -> int:
    """Pixels that are decoded: the image's, or those of one tile that is larger."""
    tags: Any = getattr(image, "tag_v2", None)
    tile = [tags.get(tag, 0) for tag in (322, 323)] if image.format == "TIFF" and tags else [0, 0]
    area = tile[0] * tile[1] if all(isinstance(side, int) for side in tile) else 0
    return max(image.width * image.height, area)
