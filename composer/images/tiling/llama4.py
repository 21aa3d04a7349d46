"""Llama 4's tiling. transformers has its image processor on torchvision only; Pillow stands in."""

from __future__ import annotations

from math import floor
from typing import TYPE_CHECKING, ClassVar

from ...schemas.tiling.llama4 import Llama4TilingConfig
from .base import TilePlan, Tiling

if TYPE_CHECKING:
    from PIL import Image
    from transformers.image_processing_backends import PilBackend

    from ..reading import Arrays


class Llama4Tiling(Tiling[Llama4TilingConfig]):
    """The image at its aspect ratio in the upper left of a black canvas; behind several tiles the whole."""

    type = "llama4"
    read_by: ClassVar = ("llama4",)

    def plan(self, width: int, height: int) -> TilePlan:
        rows, columns = self._canvas(width, height)
        if rows * columns == 1:
            return TilePlan(width, height, 1, 1, whole="none", canvas=(self.side, self.side))
        canvas = (columns * self.side, rows * self.side)
        return TilePlan(width, height, rows, columns, whole="last", canvas=canvas)

    def _canvas(self, width: int, height: int) -> tuple[int, int]:
        """Return rows and columns of tiles.

        Source: transformers' ``find_supported_resolutions`` and ``get_best_fit``.
        """
        by_ratio: dict[float, list[tuple[int, int]]] = {}
        for tiles in range(self.config.max_patches, 0, -1):
            for rows in range(1, tiles + 1):
                if tiles % rows == 0:
                    columns = tiles // rows
                    by_ratio.setdefault(rows / columns, []).append((rows, columns))
        canvases = [canvas for alike in by_ratio.values() for canvas in alike]
        scales = [min(self.side * columns / width, self.side * rows / height) for rows, columns in canvases]
        enough = [scale for scale in scales if scale >= 1]
        wanted = min if not self.config.resize_to_max_canvas else max
        best = wanted(enough) if enough else max(scales)
        return min(
            (canvas for canvas, scale in zip(canvases, scales, strict=True) if scale == best),
            key=lambda canvas: canvas[0] * canvas[1],
        )

    def cut(self, processor: PilBackend, image: Image.Image) -> Arrays:
        import numpy as np
        from PIL import Image as PillowImage

        plan = self.plan(*image.size)
        resample = vars(processor)["resample"]
        canvas = PillowImage.new("RGB", plan.canvas)
        canvas.paste(image.resize(self._shown(plan), resample))
        tiles = [*map(canvas.crop, plan.boxes), *([image] if plan.whole == "last" else [])]
        return {"pixel_values": np.asarray(processor(tiles, return_tensors="np")["pixel_values"])}

    def _shown(self, plan: TilePlan) -> tuple[int, int]:
        """Return the width and height of the image on its canvas: never enlarged beyond one tile's side.

        Source: ``Llama4ImageProcessor._preprocess`` and ``get_max_res_without_distortion``.
        """
        target = plan.canvas
        if not self.config.resize_to_max_canvas:
            target = (
                min(max(plan.width, self.side), target[0]),
                min(max(plan.height, self.side), target[1]),
            )
        across, down = target[0] / plan.width, target[1] / plan.height
        if across < down:
            return target[0], max(min(floor(plan.height * across), target[1]), 1)
        return max(min(floor(plan.width * down), target[0]), 1), target[1]
