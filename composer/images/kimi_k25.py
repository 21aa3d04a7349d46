"""Kimi's image processor on Pillow; transformers has it on torchvision only.

Sizes, padding, normalisation and layout are those of transformers' ``Kimi_K25ImageProcessor``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from transformers.feature_extraction_utils import BatchFeature
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import PILImageResampling, SizeDict
from transformers.processing_utils import ImagesKwargs
from transformers.utils.constants import IMAGENET_STANDARD_MEAN, IMAGENET_STANDARD_STD

from .levels import arithmetic
from .patch_order import Pixels
from .resize import PaddedPatchBudget


class KimiImageProcessorKwargs(ImagesKwargs, total=False):
    """Its arguments beside those of every image processor."""

    max_patches: int
    patch_size: int
    merge_size: int


class Kimi_K25ImageProcessorPil(PilBackend):  # noqa: N801  # transformers' name
    """Images to patches: shrunk to a budget of patches, padded with black to whole merged patches.

    Returns ``pixel_values`` (patches, channels, patch_size, patch_size), each image's patches in raster
    order, and ``image_grid_thw`` (images, 3).
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

    def _preprocess(  # type: ignore[override]  # takes other values, as every processor does
        self, images: list[Pixels], **values: Any
    ) -> BatchFeature:
        rule = PaddedPatchBudget(
            values["patch_size"], values["merge_size"], values["max_patches"], values["size"].max_height
        )
        patches, grids = [], []
        for image in images:
            pixels = arithmetic(self, self._padded(image, rule, values["resample"]), values)
            rows, columns = (side // rule.patch_size for side in pixels.shape[1:])
            cut = pixels.reshape(len(pixels), rows, rule.patch_size, columns, rule.patch_size)
            patch = (len(pixels), rule.patch_size, rule.patch_size)
            patches.append(cut.transpose(1, 3, 0, 2, 4).reshape(-1, *patch))
            grids.append([1, rows, columns])
        return BatchFeature(
            {"pixel_values": np.concatenate(patches), "image_grid_thw": np.array(grids)},
            tensor_type=values["return_tensors"],
        )

    def _padded(self, image: Pixels, rule: PaddedPatchBudget, resample: Any) -> Pixels:
        """An image (channels, height, width), resized by ``rule`` and padded at the bottom and the right."""
        (width, height), (padded_width, padded_height) = (
            size(image.shape[2], image.shape[1]) for size in (rule.scaled, rule)
        )
        resized = self.resize(image, size=SizeDict(height=height, width=width), resample=resample)
        return np.pad(resized, ((0, 0), (0, padded_height - height), (0, padded_width - width)))
