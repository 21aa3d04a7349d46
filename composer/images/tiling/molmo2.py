"""Molmo2's tiling. transformers has its image processor on torchvision only; ours makes the same pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from ...errors import ConfigError, Problem
from ...schemas.tiling.molmo2 import Molmo2TilingConfig
from ..resize import FixedSize
from .base import TilePlan, Tiling

if TYPE_CHECKING:
    from PIL import Image
    from transformers.image_processing_backends import PilBackend

    from ..reading import Arrays


class Molmo2Tiling(Tiling[Molmo2TilingConfig]):
    """The image whole, and the overlapping crops of a canvas that it is stretched to.

    Source: transformers' ``compute_crop_geometry`` and ``select_tiling``.
    """

    type = "molmo2"
    read_by: ClassVar = ("molmo2",)

    def plan(self, width: int, height: int) -> TilePlan:
        before, behind = (patches * self._patch for patches in self.config.overlap_margins)
        overlap = before + behind
        window = self.side // self._patch * self._patch - overlap
        if window < 1:
            message = f"crops of {self.side} pixels lie wholly in margins of {before} and {behind} pixels"
            raise ConfigError(Problem("VC211", message, "tiling.overlap_margins"))
        rows, columns = self._canvas(width - overlap, height - overlap, window)
        canvas = (columns * window + overlap, rows * window + overlap)
        return TilePlan(width, height, rows, columns, canvas=canvas, margins=(before, behind))

    @property
    def _patch(self) -> int:
        """Side of a patch in pixels.

        Raises:
            ConfigError: If the image processor is not Molmo2's.
        """
        if not isinstance(self.resize, FixedSize):
            message = "molmo2 is for images that go through Molmo2ImageProcessor"
            raise ConfigError(Problem("VC211", message, "tiling.type"))
        return self.resize.patch_size

    def _canvas(self, width: int, height: int, side: int) -> tuple[int, int]:
        """Return rows and columns of windows for an image without margins, which may leave nothing of it."""
        most = self.config.max_crops
        grids = [(rows, columns) for rows in range(1, most + 1) for columns in range(1, most // rows + 1)]
        grids.sort(key=lambda grid: grid[0] * grid[1])
        scales = [min(_ratio(side * rows, height), _ratio(side * columns, width)) for rows, columns in grids]
        enough = [scale for scale in scales if scale >= 1]
        return grids[scales.index(min(enough) if enough else max(scales))]

    def cut(self, processor: PilBackend, image: Image.Image) -> Arrays:
        import numpy as np
        from transformers.image_utils import SizeDict

        plan = self.plan(*image.size)
        width, height = plan.canvas
        pixels = np.asarray(image).transpose(2, 0, 1)
        size = SizeDict(height=height, width=width)
        canvas = processor.resize(pixels, size, vars(processor)["resample"])
        crops = [canvas[:, top:bottom, left:right] for left, top, right, bottom in plan.boxes]
        options: dict[str, Any] = {"return_tensors": "np", "input_data_format": "channels_first"}
        made = [processor(pixels, **options), processor(crops, do_resize=False, **options)]
        return {"pixel_values": np.concatenate([np.asarray(part["pixel_values"]) for part in made])}


def _ratio(canvas: int, image: int) -> float:
    return canvas / image if image else float("inf")
