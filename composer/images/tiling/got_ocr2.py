"""The tiling of GOT-OCR 2's image processor, which InternVL and Aya Vision use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from ...schemas.tiling.got_ocr2 import GotOcr2TilingConfig
from .base import TilePlan, Tiling


class GotOcr2Tiling(Tiling[GotOcr2TilingConfig]):
    """The canvas of closest aspect ratio, which the image is stretched to; then the image whole."""

    type = "got_ocr2"
    processor = "GotOcr2ImageProcessor"
    switch = "crop_to_patches"
    read_by: ClassVar = ("internvl", "aya_vision", "qianfan_ocr")

    def plan(self, width: int, height: int) -> TilePlan:
        columns, rows = closest_canvas(
            width, height, self.side, least=self.config.min_patches, most=self.config.max_patches
        )
        return self.stretched(width, height, columns, rows)


def canvases(least: int, most: int, longest: int | None = None) -> list[tuple[int, int]]:
    """Return all pairs of numbers of tiles along two sides with a product from ``least`` to ``most``, the
    smallest product first, and none of them above ``longest``."""
    longest = min(most, longest or most)
    pairs = [
        (one, other)
        for one in range(1, longest + 1)
        for other in range(1, min(most // one, longest) + 1)
        if one * other >= least
    ]
    return sorted(pairs, key=lambda pair: pair[0] * pair[1])


def closest_canvas(
    width: int, height: int, side: int, *, least: int, most: int, longest: int | None = None
) -> tuple[int, int]:
    """Return columns and rows of the canvas of closest aspect ratio.

    Source: transformers' ``get_optimal_tiled_canvas`` of GOT-OCR 2.

    Args:
        width: Width of the image.
        height: Its height.
        side: Side of a tile.
        least: Least number of tiles.
        most: Most tiles.
        longest: Most tiles along a side; None for ``most``.
    """
    return closest_of(canvases(least, most, longest), width, height, side)


def closest_of(canvases: Iterable[tuple[int, int]], width: int, height: int, side: int) -> tuple[int, int]:
    """Return the canvas, columns and rows of tiles of ``side`` pixels, of closest aspect ratio."""
    best, nearest = (1, 1), float("inf")
    for columns, rows in canvases:
        distance = abs(width / height - columns / rows)
        # Of two that are as close, the larger one, unless the image is less than half as large.
        large_enough = width * height > 0.5 * side**2 * columns * rows
        if distance < nearest or (distance == nearest and large_enough):
            best, nearest = (columns, rows), distance
    return best
