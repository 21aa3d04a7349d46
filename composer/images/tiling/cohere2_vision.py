"""Cohere 2 Vision's tiling. transformers has its image processor on torchvision only; Pillow stands in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ...schemas.tiling.cohere2_vision import Cohere2VisionTilingConfig
from .base import TilePlan, Tiling
from .got_ocr2 import canvases

if TYPE_CHECKING:
    from PIL import Image
    from transformers.image_processing_backends import PilBackend

    from ..reading import Arrays


class Cohere2VisionTiling(Tiling[Cohere2VisionTilingConfig]):
    """The canvas that needs least enlargement, which the image is stretched to; then the image whole."""

    type = "cohere2_vision"
    read_by: ClassVar = ("cohere2_vision",)

    @classmethod
    def fields_of(cls, values: Mapping[str, Any]) -> dict[str, Any] | None:
        return None if values.get("crop_to_patches") is False else super().fields_of(values)

    def plan(self, width: int, height: int) -> TilePlan:
        """Source: transformers' ``get_optimal_tiled_canvas`` for Cohere 2 Vision."""
        possible = canvases(1, self.config.max_patches)
        scales = [min(self.side * columns / width, self.side * rows / height) for columns, rows in possible]
        enough = [scale for scale in scales if scale >= 1]
        columns, rows = possible[scales.index(min(enough) if enough else max(scales))]
        return self.stretched(width, height, columns, rows)

    def cut(self, processor: PilBackend, image: Image.Image) -> Arrays:
        import numpy as np

        plan = self.plan(*image.size)
        canvas = image.resize(plan.canvas, vars(processor)["resample"]) if plan.boxes else image
        tiles = [*map(canvas.crop, plan.boxes), image]
        return {"pixel_values": np.asarray(processor(tiles, return_tensors="np")["pixel_values"])}
