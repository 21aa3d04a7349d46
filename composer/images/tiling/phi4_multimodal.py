"""Phi-4-multimodal's tiling. transformers has its image processor on torchvision only."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Any, ClassVar

from ...errors import InputError
from ...schemas.tiling.phi4_multimodal import Phi4MultimodalTilingConfig
from .base import TilePlan, Tiling
from .got_ocr2 import closest_of
from .lfm2_vl import canvases_of_a_set

if TYPE_CHECKING:
    from PIL import Image
    from transformers.image_processing_backends import PilBackend

    from ..reading import Arrays

_SHORTEST = 10
"""Least length in pixels of a side of an image on its canvas."""


class Phi4MultimodalTiling(Tiling[Phi4MultimodalTilingConfig]):
    """The image whole, and the tiles of a canvas on which it lies at the upper left.

    Source: transformers' ``Phi4MultimodalImageProcessor.dynamic_preprocess``.
    """

    type = "phi4_multimodal"
    read_by: ClassVar = ("phi4_multimodal",)

    def plan(self, width: int, height: int) -> TilePlan:
        plan = self.any_plan(width, height)
        if min(shown_size(plan)) < _SHORTEST:
            raise InputError(
                f"an image of {width}x{height} pixels becomes one of {'x'.join(map(str, shown_size(plan)))}; "
                f"Phi4MultimodalImageProcessor takes no side below {_SHORTEST}"
            )
        return plan

    def any_plan(self, width: int, height: int) -> TilePlan:
        """Return the plan also of an image that becomes too narrow for the processor."""
        columns, rows = ceil(width / self.side), ceil(height / self.side)
        if columns * rows > self.config.dynamic_hd:
            grids = canvases_of_a_set(1, self.config.dynamic_hd)
            columns, rows = closest_of(grids, width, height, self.side)
        return TilePlan(width, height, rows, columns, canvas=(columns * self.side, rows * self.side))

    def cut(self, processor: PilBackend, image: Image.Image) -> Arrays:
        import numpy as np

        options: dict[str, Any] = {"dynamic_hd": self.config.dynamic_hd, "crop_to_patches": True}
        output = processor(image, return_tensors="np", **options)
        return {name: np.asarray(output[name]) for name in ("pixel_values", "patch_attention_mask")}


def shown_size(plan: TilePlan) -> tuple[int, int]:
    """Return the width and height of an image on its canvas, without padding."""
    across, down = plan.canvas[0] / plan.width, plan.canvas[1] / plan.height
    if across < down:
        return plan.canvas[0], max(int(plan.height * across), 1)
    return max(int(plan.width * down), 1), plan.canvas[1]


def valid_patches(plan: TilePlan, patch: int) -> tuple[int, int]:
    """Return the rows and columns of patches on a canvas of which some pixel is not padding."""
    padding = (whole - shown for whole, shown in zip(plan.canvas, shown_size(plan), strict=True))
    columns, rows = (whole // patch - pad // patch for whole, pad in zip(plan.canvas, padding, strict=True))
    return rows, columns
