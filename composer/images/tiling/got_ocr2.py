"""The tiling of GOT-OCR 2's image processor, which InternVL and Aya Vision use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from ...schemas.tiling.got_ocr2 import GotOcr2TilingConfig
from .base import TilePlan, Tiling


class GotOcr2Tiling(Tiling[GotOcr2TilingConfig]):
    """The canvas of closest aspect ratio, which the image is stretched to; then the image whole."""

    type = "got_ocr2"
    processor = "GotOcr2ImageProcessor"
    read_by: ClassVar = ("internvl", "aya_vision", "qianfan_ocr")

    def plan(self, width: int, height: int) -> TilePlan:
        columns, rows = self._canvas(width, height)
        if columns * rows == 1:
            return TilePlan(width, height)
        canvas = (columns * self.side, rows * self.side)
        return TilePlan(width, height, rows, columns, whole="last", canvas=canvas)

    def _canvas(self, width: int, height: int) -> tuple[int, int]:
        """Return columns and rows of tiles. Source: transformers' ``get_optimal_tiled_canvas``."""
        most, least = self.config.max_patches, self.config.min_patches
        canvases = [
            (columns, rows)
            for columns in range(1, most + 1)
            for rows in range(1, most // columns + 1)
            if columns * rows >= least
        ]
        canvases.sort(key=lambda canvas: canvas[0] * canvas[1])
        return closest_canvas(canvases, width, height, self.side)

    def options(self) -> dict[str, Any]:
        return {**super().options(), "crop_to_patches": True}


def closest_canvas(
    canvases: Iterable[tuple[int, int]], width: int, height: int, side: int
) -> tuple[int, int]:
    """Return the canvas, columns and rows of tiles of ``side`` pixels, whose aspect ratio is closest.

    Of two that are as close, the later one, unless the image is less than half as large.
    """
    best, nearest = (1, 1), float("inf")
    for columns, rows in canvases:
        distance = abs(width / height - columns / rows)
        large_enough = width * height > 0.5 * side**2 * columns * rows
        if distance < nearest or (distance == nearest and large_enough):
            best, nearest = (columns, rows), distance
    return best
