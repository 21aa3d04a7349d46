"""Muse Glimmer's image processor on Pillow; transformers has it on torchvision only."""

from __future__ import annotations

from typing import Any

import numpy as np
from transformers.feature_extraction_utils import BatchFeature
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import SizeDict
from transformers.processing_utils import ImagesKwargs

from .levels import arithmetic
from .patch_order import Pixels
from .rules import rule_of


class MuseGlimmerImageProcessorKwargs(ImagesKwargs, total=False):
    """Its arguments beside those of every image processor."""

    patch_size: int
    temporal_patch_size: int
    merge_size: int
    max_image_tokens: int


class MuseGlimmerImageProcessorPil(PilBackend):
    """Images to rows of patches, at a grid of merged patches near their own aspect ratio.

    Returns ``pixel_values`` (patches, frames x channels x height x width of a patch), each image's patches in
    raster order, and ``image_grid_thw`` (images, 3).
    """

    valid_kwargs = MuseGlimmerImageProcessorKwargs
    model_input_names = ["pixel_values", "image_grid_thw"]  # noqa: RUF012  # as theirs

    def _validate_preprocess_kwargs(self, *args: Any, **values: Any) -> None:
        super()._validate_preprocess_kwargs(**{**values, "do_resize": False})  # there is no size

    def _preprocess(  # type: ignore[override]  # takes other values, as every processor does
        self, images: list[Pixels], **values: Any
    ) -> BatchFeature:
        rule, side = rule_of("MuseGlimmerImageProcessor", values), values["patch_size"]
        patches, grids = [], []
        for image in images:
            pixels = image
            if values["do_resize"]:
                width, height = rule(image.shape[2], image.shape[1])
                size = SizeDict(height=height, width=width)
                pixels = self.resize(image, size=size, resample=values["resample"])
            pixels = arithmetic(self, pixels, values)
            rows, columns = (length // side for length in pixels.shape[1:])
            cut = pixels.reshape(len(pixels), rows, side, columns, side).transpose(1, 3, 0, 2, 4)
            cut = cut.reshape(rows * columns, -1)
            patches.append(np.tile(cut, (1, values["temporal_patch_size"])))
            grids.append([1, rows, columns])
        return BatchFeature(
            {"pixel_values": np.concatenate(patches), "image_grid_thw": np.array(grids)},
            tensor_type=values["return_tensors"],
        )
