"""Ovis2's tiling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ...schemas.tiling.ovis2 import Ovis2TilingConfig
from .base import TilePlan, Tiling
from .got_ocr2 import canvases, closest_canvas

_ENOUGH = 0.9
"""How much of an image's area its tiles have to show."""


class Ovis2Tiling(Tiling[Ovis2TilingConfig]):
    """The image whole, then the tiles of a canvas that it is stretched to."""

    type = "ovis2"
    processor = "Ovis2ImageProcessor"
    switch = "crop_to_patches"
    read_by: ClassVar = ("ovis2",)

    @classmethod
    def fields_of(cls, values: Mapping[str, Any]) -> dict[str, Any] | None:
        return super().fields_of(values) if values.get("crop_to_patches") else None

    def plan(self, width: int, height: int) -> TilePlan:
        least, most = self.config.min_patches, self.config.max_patches
        if most == 1:
            return TilePlan(width, height)
        if self.config.use_covering_area_grid:
            columns, rows = self._covering(width, height)
        else:
            columns, rows = closest_canvas(width, height, self.side, least=least, most=most)
        return self.stretched(width, height, columns, rows, whole="first")

    def _covering(self, width: int, height: int) -> tuple[int, int]:
        """Return columns and rows of tiles. Source: transformers' ``get_min_tile_covering_grid``.

        That reckons with as many rows as the canvas then has columns, and the other way round.
        """
        shown = {grid: self._shown(width, height, *grid) for grid in canvases(1, self.config.max_patches)}
        enough = [grid for grid, share in shown.items() if share > _ENOUGH]
        if enough:
            return min(enough, key=lambda grid: (grid[0] * grid[1], -shown[grid]))
        return min(shown, key=lambda grid: (-shown[grid], grid[0] * grid[1]))

    def _shown(self, width: int, height: int, rows: int, columns: int) -> float:
        """Return the share of an image's area that is left where each part shrinks to a tile's side."""
        down, across = height // rows, width // columns
        # The last row and the last column take what is left over.
        parts = (
            (
                width - column * across if column == columns - 1 else across,
                height - row * down if row == rows - 1 else down,
            )
            for row in range(rows)
            for column in range(columns)
        )
        # sum, as transformers: since Python 3.12 it rounds floats otherwise than adding them one by one.
        return sum(map(self._area, parts)) / (width * height)

    def _area(self, part: tuple[int, int]) -> float:
        long, short = max(part), min(part)
        return short / long * self.side * self.side if long > self.side else long * short
