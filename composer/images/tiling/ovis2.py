"""Ovis2's tiling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ...schemas.tiling.ovis2 import Ovis2TilingConfig
from .base import TilePlan, Tiling
from .got_ocr2 import closest_canvas

_ENOUGH = 0.9
"""The part of an image that its tiles should show without being shrunk."""


class Ovis2Tiling(Tiling[Ovis2TilingConfig]):
    """The image whole, and then, if they are several, the tiles of a canvas that it is stretched to."""

    type = "ovis2"
    processor = "Ovis2ImageProcessor"
    read_by: ClassVar = ("ovis2",)

    @classmethod
    def fields_of(cls, values: Mapping[str, Any]) -> dict[str, Any] | None:
        cut = values.get("crop_to_patches", False) and values.get("max_patches", 12) > 1
        return super().fields_of(values) if cut else None

    def plan(self, width: int, height: int) -> TilePlan:
        columns, rows = self._canvas(width, height)
        if columns * rows == 1:
            return TilePlan(width, height)
        canvas = (columns * self.side, rows * self.side)
        return TilePlan(width, height, rows, columns, whole="first", canvas=canvas)

    def _canvas(self, width: int, height: int) -> tuple[int, int]:
        """Return columns and rows. Source: transformers' ``crop_image_to_patches``."""
        covers, most = self.config.use_covering_area_grid, self.config.max_patches
        least = 1 if covers else self.config.min_patches
        canvases = [
            (columns, rows)
            for columns in range(1, most + 1)
            for rows in range(1, most + 1)
            if least <= columns * rows <= most
        ]
        canvases.sort(key=lambda canvas: canvas[0] * canvas[1])
        if not covers:
            return closest_canvas(canvases, width, height, self.side)
        shown = {canvas: self._shown(width, height, canvas) for canvas in canvases}
        enough = [canvas for canvas in canvases if shown[canvas] > _ENOUGH]
        if enough:
            return min(enough, key=lambda canvas: (canvas[0] * canvas[1], -shown[canvas]))
        return min(canvases, key=lambda canvas: (-shown[canvas], canvas[0] * canvas[1]))

    def _shown(self, width: int, height: int, canvas: tuple[int, int]) -> float:
        """Return the part of the image that so many tiles show.

        transformers takes the first number as rows here, and as columns where it cuts.
        """
        rows, columns = canvas
        area = 0.0
        for row in range(rows):
            for column in range(columns):
                across, down = width // columns, height // rows
                right = width if column == columns - 1 else (column + 1) * across
                lower = height if row == rows - 1 else (row + 1) * down
                area += self._area(right - column * across, lower - row * down)
        return area / (width * height)

    def _area(self, width: int, height: int) -> float:
        """Return the area of a region, shrunk until its longer side is a tile's."""
        long, short = max(width, height), min(width, height)
        return long * short if long <= self.side else self.side * (short / long * self.side)

    def options(self) -> dict[str, Any]:
        return {**super().options(), "crop_to_patches": True}
