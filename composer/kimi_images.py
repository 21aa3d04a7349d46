"""Kimi's image processor on Pillow; transformers has it on torchvision only.

Sizes, padding, normalisation and layout are those of transformers' ``Kimi_K25ImageProcessor``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from transformers.image_processing_backends import PilBackend
from transformers.image_processing_utils import BatchFeature
from transformers.image_utils import (
    IMAGENET_STANDARD_MEAN,
    IMAGENET_STANDARD_STD,
    PILImageResampling,
    SizeDict,
)
from transformers.processing_utils import ImagesKwargs

from .encoders.resize import PatchBudget


class KimiImageProcessorKwargs(ImagesKwargs, total=False):
    """Its arguments beside those of every image processor."""

    max_patches: int
    patch_size: int
    merge_size: int


class KimiImageProcessor(PilBackend):
    """Pictures to patches: shrunk to a budget of patches, padded with black to whole merged patches.

    Returns ``pixel_values`` (patches, channels, patch_size, patch_size), each picture's patches in raster
    order, and ``image_grid_thw`` (pictures, 3).
    """

    do_resize = True
    resample = PILImageResampling.BICUBIC
    size = {"max_height": 512, "max_width": 512}  # noqa: RUF012  # in patches; as transformers declares them
    max_patches = 16384
    do_rescale = True
    rescale_factor = 1 / 255
    do_normalize = True
    image_mean = IMAGENET_STANDARD_MEAN
    image_std = IMAGENET_STANDARD_STD
    do_convert_rgb = True
    patch_size = 14
    merge_size = 2
    valid_kwargs = KimiImageProcessorKwargs
    model_input_names = ["pixel_values", "image_grid_thw"]  # noqa: RUF012

    def _preprocess(
        self,
        images: list[np.ndarray[Any, Any]],
        *,
        size: SizeDict,
        resample: PILImageResampling | None,
        do_rescale: bool,
        rescale_factor: float,
        do_normalize: bool,
        image_mean: list[float],
        image_std: list[float],
        patch_size: int,
        merge_size: int,
        max_patches: int,
        return_tensors: str | None,
        **_: Any,
    ) -> BatchFeature:
        rule = PatchBudget(patch_size, merge_size, max_patches, size.max_height)
        patches, grids = [], []
        for image in images:
            sides = image.shape[2], image.shape[1]
            (width, height), (padded_width, padded_height) = rule.scaled(*sides), rule(*sides)
            resized = self.resize(image, size=SizeDict(height=height, width=width), resample=resample)
            [padded] = self.pad([resized], pad_size=SizeDict(height=padded_height, width=padded_width))
            if do_rescale:
                padded = self.rescale(padded, rescale_factor)
            if do_normalize:
                padded = self.normalize(padded, image_mean, image_std)
            rows, columns = padded_height // patch_size, padded_width // patch_size
            cut = padded.reshape(len(padded), rows, patch_size, columns, patch_size)
            patches.append(cut.transpose(1, 3, 0, 2, 4).reshape(-1, len(padded), patch_size, patch_size))
            grids.append([1, rows, columns])
        return BatchFeature(
            {"pixel_values": np.concatenate(patches), "image_grid_thw": np.array(grids)},
            tensor_type=return_tensors,
        )
