"""LFM2-VL's tiling. transformers has its image processor on torchvision only; Pillow stands in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ...errors import ConfigError, Problem
from ...schemas.tiling.lfm2_vl import Lfm2VlTilingConfig
from ..resize import TokenPixelBudget
from .base import TilePlan, Tiling
from .got_ocr2 import closest_of

if TYPE_CHECKING:
    from PIL import Image
    from transformers.image_processing_backends import PilBackend

    from ..reading import Arrays


class Lfm2VlTiling(Tiling[Lfm2VlTilingConfig]):
    """A large image is stretched to whole tiles; behind them, and alone if it is not large, the image whole.

    Source: transformers' ``Lfm2VlImageProcessor.resize_and_split``.
    """

    type = "lfm2_vl"
    read_by: ClassVar = ("lfm2_vl",)

    @classmethod
    def fields_of(cls, values: Mapping[str, Any]) -> dict[str, Any] | None:
        never = values.get("min_tiles") == values.get("max_tiles") == 1
        return None if never or values.get("do_image_splitting") is False else super().fields_of(values)

    @property
    def rule(self) -> TokenPixelBudget:
        """How an image is resized that is not cut.

        Raises:
            ConfigError: If the image processor is not LFM2-VL's.
        """
        if not isinstance(self.resize, TokenPixelBudget):
            message = "lfm2_vl is for images that go through Lfm2VlImageProcessor"
            raise ConfigError(Problem("VC211", message, "tiling.type"))
        return self.resize

    def plan(self, width: int, height: int) -> TilePlan:
        most = self.rule.max_pixels * self.config.max_pixels_tolerance
        if self.rule.rounded_area(width, height) <= most:
            return TilePlan(width, height)
        grids = canvases_of_a_set(self.config.min_tiles, self.config.max_tiles)
        columns, rows = closest_of(grids, width, height, self.config.tile_size)
        canvas = (columns * self.config.tile_size, rows * self.config.tile_size)
        whole = self.config.use_thumbnail and columns * rows > 1
        return TilePlan(width, height, rows, columns, whole="last" if whole else "none", canvas=canvas)

    def sizes(self, plan: TilePlan) -> list[tuple[int, int]]:
        side = self.config.tile_size
        whole = [self.rule(plan.width, plan.height)] if plan.whole != "none" else []
        return [(side, side)] * (plan.rows * plan.columns) + whole

    def cut(self, processor: PilBackend, image: Image.Image) -> Arrays:
        import numpy as np

        plan = self.plan(*image.size)
        made = []
        if plan.boxes:
            canvas = image.resize(plan.canvas, vars(processor)["resample"])
            tiles = [canvas.crop(box) for box in plan.boxes]
            made.append(processor(tiles, return_tensors="np", do_resize=False))
        if plan.whole != "none":
            made.append(processor(image, return_tensors="np"))
        most = max(part["pixel_values"].shape[1] for part in made)
        joined = {}
        for name in ("pixel_values", "pixel_attention_mask"):
            parts = [np.asarray(part[name]) for part in made]
            padded = [
                np.pad(part, [(0, 0), (0, most - part.shape[1]), *[(0, 0)] * (part.ndim - 2)])
                for part in parts
            ]
            joined[name] = np.concatenate(padded)
        shapes = [np.asarray(part["spatial_shapes"]) for part in made]
        return joined | {"spatial_shapes": np.concatenate(shapes)}


def canvases_of_a_set(least: int, most: int) -> list[tuple[int, int]]:
    """Return columns and rows. They are sorted out of a set, as in transformers, because order counts."""
    canvases = {
        (columns, rows)
        for tiles in range(least, most + 1)
        for columns in range(1, tiles + 1)
        for rows in range(1, tiles + 1)
        if least <= columns * rows <= most
    }
    return sorted(canvases, key=lambda canvas: canvas[0] * canvas[1])
