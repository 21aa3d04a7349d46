"""Llama 4's tiling: ``Llama4ImageProcessor`` of transformers."""

from __future__ import annotations

from typing import Literal

from ..encoders.base import Few
from .base import TilingConfig


class Llama4TilingConfig(TilingConfig):
    """The canvas that enlarges the image least, padded at the right and the bottom; then the image whole."""

    type: Literal["llama4"]
    max_patches: Few = 16
    """Most tiles, without the image whole."""
    resize_to_max_canvas: bool = False
    """Enlarge the image to the largest canvas instead, as far as it goes."""
