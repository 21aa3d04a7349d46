"""Ovis2's tiling: ``Ovis2ImageProcessor`` of transformers."""

from __future__ import annotations

from typing import Literal

from ..encoders.base import Few
from .base import TilingConfig


class Ovis2TilingConfig(TilingConfig):
    """A canvas of tiles, which the image is stretched to; in front of several tiles the image whole."""

    type: Literal["ovis2"]
    min_patches: Few = 1
    """Least number of tiles, without the image whole, where the canvas has the closest aspect ratio."""
    max_patches: Few = 12
    """Most tiles, without the image whole."""
    use_covering_area_grid: bool = True
    """Whether the canvas is the smallest that shrinks the image to no less than 90% of its area, as the
    processor reckons it; or else the one of closest aspect ratio."""
