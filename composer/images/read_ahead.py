"""Images read by threads ahead of whoever takes them. Loads no torch."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ..errors import ImageError
from .decode import Clip, ImageLike

T = TypeVar("T")

_THREADS = min(8, os.cpu_count() or 1)
"""Images decoded at once; they share the memory of :mod:`vision_composer.images.limits`."""


def read_ahead(
    images: Sequence[ImageLike | Clip], read: Callable[[int, ImageLike | Clip], T], *, ahead: int
) -> Generator[T | ImageError]:
    """Read images in order, some before they are asked for.

    Args:
        images: Paths, PIL images or arrays.
        read: Reads an image, given its index; called from several threads.
        ahead: How many are read, or being read, beyond the one asked for.

    Yields:
        What ``read`` returns, or the error of an image that cannot be read; any other error is raised.
    """

    def attempt(index: int, image: ImageLike | Clip) -> T | ImageError:
        try:
            return read(index, image)
        except ImageError as error:
            return error

    pending: deque[Future[T | ImageError]] = deque()
    pool = ThreadPoolExecutor(max(min(_THREADS, len(images)), 1), thread_name_prefix="read-ahead")
    try:
        for index, image in enumerate(images):
            pending.append(pool.submit(attempt, index, image))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
