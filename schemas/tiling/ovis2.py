"""Ovis2's tiling: ``Ovis2ImageProcessor`` of transformers."""

from __future__ import annotations

from typing import Literal

from .got_ocr2 import CanvasTilingConfig


class Ovis2TilingConfig(CanvasTilingConfig):
    """The smallest canvas of tiles that shows most of the image, filled; in front of several the whole."""

    type: Literal["ovis2"]
    use_covering_area_grid: bool = True
    """Whether the canvas is chosen so; otherwise that of closest aspect ratio."""
