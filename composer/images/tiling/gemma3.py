"""Gemma 3's tiling: pan and scan."""

from __future__ import annotations

from math import ceil, floor

from ...schemas.tiling.gemma3 import Gemma3TilingConfig
from .base import TilePlan, Tiling


class Gemma3Tiling(Tiling[Gemma3TilingConfig]):
    """The image whole, and crops along its longer side; each is stretched to a square.

    No checkpoint asks for it: Gemma 3's own processor switches it off, whatever the image processor's JSON
    says, unless its caller switches it on. So does a config that names it.
    """

    type = "gemma3"
    processor = "Gemma3ImageProcessor"
    switch = "do_pan_and_scan"

    def plan(self, width: int, height: int) -> TilePlan:
        """Source: transformers' ``Gemma3ImageProcessorPil.pan_and_scan``."""
        long, short, least = max(width, height), min(width, height), self.config.pan_and_scan_min_crop_size
        crops = min(
            self.config.pan_and_scan_max_num_crops, max(2, min(long // least, floor(long / short + 0.5)))
        )
        length = ceil(long / crops)
        if long / short < self.config.pan_and_scan_min_ratio_to_activate or min(length, short) < least:
            return TilePlan(width, height)
        rows, columns = (1, crops) if width >= height else (crops, 1)
        canvas = (length * columns, height) if width >= height else (width, length * rows)
        return TilePlan(width, height, rows, columns, canvas=canvas)
