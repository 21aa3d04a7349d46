"""Images resized with Pillow's pixels: by Pillow, or several times as fast by its sums compiled with numba.

Pillow resizes one axis after the other. Each new row is a sum of old rows, times whole numbers that depend
on the lengths and the filter alone; see ``src/libImaging/Resample.c`` in Pillow's sources. Whole numbers add
up to the same in any order, so the same numbers give the same pixels. Pillow itself tells them: it resizes
an image in which a single pixel of every so many is bright.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache, partial
from math import ceil, prod
from types import ModuleType
from typing import TypeAlias

import numpy as np
from PIL import Image

from .compiled import passes
from .patch_order import Pixels

_Size: TypeAlias = tuple[int, int]
_Rule: TypeAlias = Callable[[_Size, _Size], bool]

_REACH = {
    Image.Resampling.BOX: 0.5,
    Image.Resampling.BILINEAR: 1.0,
    Image.Resampling.HAMMING: 1.0,
    Image.Resampling.BICUBIC: 2.0,
    Image.Resampling.LANCZOS: 3.0,
}
"""How far each filter reaches from a pixel, in pixels of the larger side."""

_ONE = 1 << 22
"""What Pillow's weights of 8-bit pixels add up to."""

_SMALL = 1 << 16
"""Pixels of an image, before and after, that Pillow resizes in less than a millisecond."""

_MOST_WEIGHTS = 256
"""Of more weights for one pixel, numba gains little, and an image to ask them of would be large."""


def resize(image: Image.Image, size: _Size, resample: int) -> Pixels:
    """Return the pixels of ``image.resize(size, resample)``.

    Args:
        image: In RGB or grey.
        size: Width and height in pixels.
        resample: Pillow's filter.

    Returns:
        uint8, (channels, height, width); not always contiguous.

    Raises:
        ValueError: If Pillow refuses the size or the filter.
    """
    if image.size == size:
        return _planes(np.asarray(image))
    if _reasonable(image.size, size, resample):
        compiled = passes(image.width * image.height)
        if compiled is not None and (order := _order(compiled)) is not None:
            return _summed(compiled, image, size, resample, vertical_first=order(image.size, size))
    return _planes(np.asarray(image.resize(size, resample)))


def _reasonable(old: _Size, new: _Size, resample: int) -> bool:
    """Whether Pillow's sums are known, and many enough."""
    if resample not in _REACH or min(*old, *new) < 1 or max(prod(old), prod(new)) < _SMALL:
        return False
    if old[1] > 100 * old[0]:  # some versions of Pillow take the axes of such strips in another order
        return False
    return all(_num_weights(*lengths, resample) <= _MOST_WEIGHTS for lengths in zip(old, new, strict=True))


def _never_vertical_first(old: _Size, new: _Size) -> bool:
    return False


def _shrunk_in_height(old: _Size, new: _Size) -> bool:
    """Whether the height loses more than twice what the width does, in pixels."""
    (old_width, old_height), (width, height) = old, new
    return old_height - height > max(2 * (old_width - width), 0)


@cache
def _order(compiled: ModuleType) -> _Rule | None:
    """Find by trial when the installed Pillow resizes the height before the width.

    It rounds in between, so this shows. Pillow 12 never does, Pillow 13 does where height is lost most.

    Returns:
        Tells it by an image's size and its new one; None if Pillow gives other pixels by either rule.
    """
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (96, 64, 3), np.uint8))
    # Both sides of where Pillow 13 changes: it loses 20 of the height and 10 of the width, or one more.
    trials = [((54, 76), f) for f in _REACH] + [
        (size, 3) for size in ((54, 75), (70, 95), (70, 97), (40, 30))
    ]
    for rule in (_never_vertical_first, _shrunk_in_height):
        if all(_agrees(compiled, image, size, resample, rule) for size, resample in trials):
            return rule
    return None


def _agrees(compiled: ModuleType, image: Image.Image, size: _Size, resample: int, rule: _Rule) -> bool:
    made = _summed(compiled, image, size, resample, vertical_first=rule(image.size, size))
    return np.array_equal(made, _planes(np.asarray(image.resize(size, resample))))


def _summed(
    compiled: ModuleType, image: Image.Image, size: _Size, resample: int, *, vertical_first: bool
) -> Pixels:
    weighed = partial(_weighed, compiled.weigh_rows, resample)
    (old_width, old_height), (width, height) = image.size, size
    if vertical_first:
        rows = weighed(np.asarray(image).reshape(1, old_height, -1), height)
        turned = _planes(rows.reshape(height, old_width, -1).swapaxes(0, 1))
        return weighed(turned, width).swapaxes(1, 2)
    columns = np.asarray(image.transpose(Image.Transpose.TRANSPOSE)).reshape(1, old_width, -1)
    columns = weighed(columns, width)
    return weighed(_planes(columns.reshape(width, old_height, -1).swapaxes(0, 1)), height)


def _weighed(weigh_rows: Callable[..., None], resample: int, rows: Pixels, length: int) -> Pixels:
    """Resize the middle axis of (planes, rows, values) to a length."""
    planes, old_length, values = rows.shape
    if length == old_length:
        return rows
    made = np.empty((planes, length, values), np.uint8)
    weigh_rows(rows, *_weights(old_length, length, resample), made)
    return made


def _num_weights(old_length: int, length: int, resample: int) -> int:
    """Old pixels in a row that are sure to hold all that a new one is made of."""
    reach = _REACH[Image.Resampling(resample)] * max(old_length / length, 1.0)
    return min(2 * ceil(reach) + 3, old_length)


@lru_cache(maxsize=256)
def _weights(old_length: int, length: int, resample: int) -> tuple[Pixels, Pixels]:
    """Ask Pillow for its weights of each new pixel.

    Returns:
        The first old pixel of each new one, (length,), and the weights from there on, (length, weights).
    """
    count = _num_weights(old_length, length, resample)
    # Row r is bright at every count-th pixel from r on: one of these at most is part of a new pixel.
    places = np.arange(old_length)
    bright = np.zeros((count, old_length), np.int32)
    bright[places % count, places] = _ONE
    answers = np.asarray(Image.fromarray(bright).resize((length, count), resample))
    centres = (np.arange(length) + 0.5) * (old_length / length)
    first = np.clip(np.floor(centres).astype(np.int64) - count // 2, 0, old_length - count)
    weights = answers[(first[:, None] + np.arange(count)) % count, np.arange(length)[:, None]]
    return first, np.ascontiguousarray(weights, np.int32)


def _planes(pixels: Pixels) -> Pixels:
    """Copy pixels (height, width[, channels]) to (channels, height, width): Pillow's own are read-only."""
    return np.array(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1), order="C")
