"""Images preprocessed ahead of the forward that takes them, by threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from ..errors import ImageError
from ..images.decode import ImageLike, image_name

if TYPE_CHECKING:
    from torch import Tensor

_READERS = min(4, os.cpu_count() or 1)
"""Images decoded at once; they share the memory of :mod:`vision_composer.images.limits`."""
_READ_AHEAD = 16
"""Images waiting or preprocessed beyond the one asked for."""


def iter_inputs(
    images: Iterable[ImageLike], preprocess: Callable[[Sequence[ImageLike]], Mapping[str, Tensor]]
) -> Iterator[tuple[int, str, Mapping[str, Tensor] | ImageError]]:
    """Preprocess images one by one, in order, a few ahead of what is asked for.

    Args:
        images: Paths, PIL images or arrays; read as they are needed.
        preprocess: An :class:`ImagePreprocessor`, or ``encoder.preprocess``. Called from several threads.

    Yields:
        Index, name, and the inputs of a batch of that image alone, or the error of one that cannot be
        read.
    """

    def attempt(image: ImageLike, name: str) -> Mapping[str, Tensor] | ImageError:
        try:
            return preprocess([image])
        except ImageError as error:
            return ImageError(name, error.reason)

    pending: deque[tuple[int, str, Future[Mapping[str, Tensor] | ImageError]]] = deque()
    pool = ThreadPoolExecutor(_READERS)
    try:
        for index, image in enumerate(images):
            name = image_name(image, f"image {index}")
            pending.append((index, name, pool.submit(attempt, image, name)))
            if len(pending) > _READ_AHEAD:
                first, name, future = pending.popleft()
                yield first, name, future.result()
        for index, name, future in pending:
            yield index, name, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
