"""One image's row of the output: what it is called, what it is like, and its features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

METADATA_KEY = b"vision_composer"
"""Where a Parquet file of features says, as JSON, which version and config made them."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An image that was encoded.

    Attributes:
        row: Its number among all images of the job.
        id: What it is called.
        source: The input that it comes from.
        size: Its width and height in pixels.
        grid: Frames or tiles, patch rows and patch columns that the encoder saw.
        num_tokens: Tokens that the encoder made of it, before pooling.
        dtype: ``float32``, ``float16`` or ``bfloat16``.
        features: (tokens, width); of bfloat16 the bits, as uint16.
    """

    row: int
    id: str
    source: str
    size: tuple[int, int]
    grid: tuple[int, int, int]
    num_tokens: int
    dtype: str
    features: np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Failed:
    """An image that could not be read or encoded, and why."""

    row: int
    id: str
    source: str
    reason: str


def storable(name: str) -> str:
    r"""Return a file name as text: bytes that are not UTF-8, surrogates in Python, become ``\udcff``."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def as_float32(bits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return bfloat16 numbers, given as bits in uint16, as float32; exact."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
