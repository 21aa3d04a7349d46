"""Granite Docling's tiling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ...errors import ConfigError, Problem
from ...schemas.tiling.granite_docling import GraniteDoclingTilingConfig
from .base import TilePlan, Tiling
from .got_ocr2 import closest_canvas

_LONGEST = 16
"""Most tiles along a side."""


class GraniteDoclingTiling(Tiling[GraniteDoclingTilingConfig]):
    """The canvas of closest aspect ratio, which the page is stretched to; then the page whole."""

    type = "granite_docling"
    processor = "GraniteDoclingImageProcessor"
    switch = "crop_to_patches"
    read_by: ClassVar = ("granite_docling",)

    @classmethod
    def fields_of(cls, values: Mapping[str, Any]) -> dict[str, Any] | None:
        if values.get("fine_route"):
            message = "the fine path of the connector is not built; false takes the coarse one"
            raise ConfigError(Problem("VC104", message, "fine_route"))
        return None if values.get("crop_to_patches") is False else super().fields_of(values)

    def plan(self, width: int, height: int) -> TilePlan:
        most = self._most(width, height)
        columns, rows = self._canvas(width, height, most) if most > 1 else (1, 1)
        return self.stretched(width, height, columns, rows)

    def _canvas(self, width: int, height: int, most: int) -> tuple[int, int]:
        least = min(self.config.min_patches, most)
        return closest_canvas(width, height, self.side, least=least, most=most, longest=_LONGEST)

    def _most(self, width: int, height: int) -> int:
        """Return the most tiles of a page. Source: transformers' ``get_page_max_patches``."""
        config, ratio = self.config, width / height
        usual = config.max_patches
        if usual <= 1:
            return 1
        if not config.dense_max_patches or not (config.dense_max_scale or config.dense_min_aspect):
            return usual
        if config.dense_min_aspect and ratio <= config.dense_min_aspect:
            return usual
        if config.dense_max_aspect and ratio > config.dense_max_aspect:
            return usual
        if config.dense_max_scale:
            columns, _ = self._canvas(width, height, usual)
            if columns * self.side / width >= config.dense_max_scale:
                return usual
        return config.dense_max_patches
