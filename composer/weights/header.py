"""What a checkpoint file says of a tensor before its values are read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Format = Literal["safetensors", "pickle"]

FILE_BYTES = 1 << 40
"""Largest checkpoint file that is opened."""

NOT_QUANTISED = "use the checkpoint that was quantised, in float32, float16 or bfloat16"
"""What to do about quantised weights."""


@dataclass(frozen=True)
class TensorHeader:
    """Where a tensor is, and what it is; not its values.

    Attributes:
        file: The file.
        shape: Its axes.
        dtype: Its dtype, by torch's name; by the file's own where torch has no such dtype.
        start: Its first byte in the file; of a pickle, where that is unknown, 0.
        size: Its bytes.
    """

    file: Path
    shape: tuple[int, ...]
    dtype: str
    start: int
    size: int
