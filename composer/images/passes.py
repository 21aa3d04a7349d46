"""Passes over pixels, compiled by numba: the sums of a resize, and looking pixels up.

Only :mod:`vision_composer.images.compiled` imports this module: numba is an extra, and takes long to load.
"""

from __future__ import annotations

from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

import numba
import numpy as np

_HALF = np.int32(1 << 21)
_BITS = np.int32(22)


def _weigh_rows(rows: Any, first: Any, weights: Any, made: Any) -> None:
    planes, length, values = made.shape
    total = np.empty(values, np.int32)
    for plane in range(planes):
        for new in range(length):
            total[:] = _HALF
            for at in range(weights.shape[1]):
                weight = weights[new, at]
                if weight != 0:
                    row = rows[plane, first[new] + at]
                    for i in range(values):
                        total[i] += weight * np.int32(row[i])
            row = made[plane, new]
            for i in range(values):
                row[i] = np.uint8(min(max(total[i] >> _BITS, 0), 255))


def _look_up(pixels: Any, table: Any, found: Any) -> None:
    rows, channels, frames, values = found.shape
    for row in range(rows):
        for channel in range(channels):
            for i in range(values):
                found[row, channel, 0, i] = table[channel, pixels[row, channel, i]]
            for frame in range(1, frames):
                found[row, channel, frame] = found[row, channel, 0]


def _compile(function: Callable[..., None], *arguments: Any) -> Callable[..., None]:
    """Compile for this processor; kept on disk for the next process where that works."""
    signature = numba.void(*arguments)
    compiled: Callable[..., None]
    try:
        compiled = numba.njit(signature, nogil=True, cache=True)(function)
    except (EOFError, OSError, RuntimeError, UnpicklingError):  # no folder, no room, or a broken file
        compiled = numba.njit(signature, nogil=True)(function)
    return compiled


def _read_only(dtype: Any, axes: int) -> Any:
    return numba.types.Array(dtype, axes, "C", readonly=True)


weigh_rows = _compile(
    _weigh_rows, _read_only(numba.uint8, 3), numba.int64[::1], numba.int32[:, ::1], numba.uint8[:, :, ::1]
)
"""Write sums of rows, rounded and clipped to 8 bits.

Args:
    rows: uint8 (planes, old rows, values), contiguous, as all of these.
    first: int64 (new rows,), the first old row of each new one.
    weights: int32 (new rows, weights), of the old rows from there on, in units of 2**-22.
    made: uint8 (planes, new rows, values); is written.
"""

look_up = _compile(
    _look_up, _read_only(numba.uint8, 3), _read_only(numba.float32, 2), numba.float32[:, :, :, ::1]
)
"""Write what a table has for pixels, once for every frame.

Args:
    pixels: uint8 (rows, channels, values), contiguous, as all of these.
    table: float32 (channels, 256).
    found: float32 (rows, channels, frames, values); is written.
"""
