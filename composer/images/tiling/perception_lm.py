"""PerceptionLM's tiling. transformers has its image processor on torchvision only; Pillow stands in."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor
from typing import TYPE_CHECKING, Any, ClassVar

from ...schemas.tiling.perception_lm import PerceptionLmTilingConfig
from .base import TilePlan, Tiling

if TYPE_CHECKING:
    from PIL import Image
    from transformers.image_processing_backends import PilBackend

    from ..reading import Arrays


class PerceptionLmTiling(Tiling[PerceptionLmTilingConfig]):
    """The image whole, and then the tiles of a canvas that it is stretched to: one at least.

    Source: transformers' ``PerceptionLMImageProcessor.resize``.
    """

    type = "perception_lm"
    read_by: ClassVar = ("perception_lm",)

    @classmethod
    def fields_of(cls, values: Mapping[str, Any]) -> dict[str, Any] | None:
        tiles = values.get("vision_input_type", "thumb+tile") == "thumb+tile"
        return super().fields_of(values) if tiles else None

    def plan(self, width: int, height: int) -> TilePlan:
        columns, rows = self._roomiest(width, height) or self._closest(width, height)
        canvas = (columns * self.side, rows * self.side)
        return TilePlan(width, height, rows, columns, canvas=canvas)

    def _canvases(self) -> dict[float, list[tuple[int, int]]]:
        """Return columns and rows by their ratio; the most tiles first, and then the fewest columns."""
        by_ratio: dict[float, list[tuple[int, int]]] = {}
        for tiles in range(self.config.max_num_tiles, 0, -1):
            for columns in range(1, tiles + 1):
                if tiles % columns == 0:
                    rows = tiles // columns
                    by_ratio.setdefault(columns / rows, []).append((columns, rows))
        return by_ratio

    def _roomiest(self, width: int, height: int) -> tuple[int, int] | None:
        """Return the canvas on which the shorter side is longest, the last of several; None if none holds
        the image as it is."""
        best, longest = None, 0.0
        for canvas in (canvas for alike in self._canvases().values() for canvas in alike):
            across, down = (self.side * tiles for tiles in canvas)
            if across < width or down < height:
                continue
            shorter = _shorter_side(width, height, across, down)
            if shorter >= longest:
                best, longest = canvas, shorter
        return best

    def _closest(self, width: int, height: int) -> tuple[int, int]:
        """Return the largest canvas of the ratio that is closest and no longer than the image's, or, of an
        upright image, shorter."""
        ratio, by_ratio = width / height, self._canvases()
        if ratio >= 1:
            closest = max(own for own in by_ratio if own <= ratio)
        else:
            closest = min(own for own in by_ratio if own > ratio)
        return max(by_ratio[closest], key=lambda canvas: canvas[0] * canvas[1])

    def cut(self, processor: PilBackend, image: Image.Image) -> Arrays:
        import numpy as np

        plan = self.plan(*image.size)
        canvas = image.resize(plan.canvas, vars(processor)["resample"])
        tiles = [image, *map(canvas.crop, plan.boxes)]
        return {"pixel_values": np.asarray(processor(tiles, return_tensors="np")["pixel_values"])}


def _shorter_side(width: int, height: int, across: int, down: int) -> float:
    """Return the shorter side of an image that is enlarged to a canvas; of a square its height, unrounded."""
    ratio, scale = width / height, min(across / width, down / height)
    if ratio > 1:
        return floor(scale * width / ratio)
    return scale * height if ratio == 1 else floor(scale * height * ratio)
