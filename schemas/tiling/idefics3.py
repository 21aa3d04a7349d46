"""Idefics3's and SmolVLM's tiling: ``Idefics3ImageProcessor`` of transformers."""

from __future__ import annotations

from typing import ClassVar, Literal

from ..encoders.base import Side
from .base import TilingConfig


class Idefics3TilingConfig(TilingConfig):
    """The image resized to whole tiles and cut; behind several tiles the image whole."""

    masked: ClassVar[bool] = True

    type: Literal["idefics3"]
    longest_edge: Side = 1456
    """Length in pixels that the longer side is resized to, before it is rounded up to whole tiles."""
