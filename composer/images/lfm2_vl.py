"""LFM2-VL's image processor on Pillow, for whole images; transformers has it on torchvision only."""

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


class Lfm2VlImageProcessorKwargs(ImagesKwargs, total=False):
    """Its arguments beside those of every image processor, without those of tiles."""

    downsample_factor: int
    min_image_tokens: int
    max_image_tokens: int
    encoder_patch_size: int


class Lfm2VlImageProcessorPil(PilBackend):
    """Images to patches, at their own aspect ratio within bounds of their area.

    Returns ``pixel_values`` (images, patches, height x width x channels of a patch), padded at the end,
    ``pixel_attention_mask`` (images, patches) and ``spatial_shapes`` (images, 2), rows and columns.
    """

    do_resize = True
    valid_kwargs = Lfm2VlImageProcessorKwargs
    model_input_names = ["pixel_values", "pixel_attention_mask", "spatial_shapes"]  # noqa: RUF012  # as theirs

    def _preprocess(  # type: ignore[override]  # takes other values, as every processor does
        self, images: list[Pixels], **values: Any
    ) -> BatchFeature:
        rule, side = rule_of("Lfm2VlImageProcessor", values), values["encoder_patch_size"]
        rows_of_images, shapes = [], []
        for image in images:
            height, width = image.shape[1:]
            pixels = image
            if values["do_resize"]:  # a tile is not
                width, height = rule(width, height)
                size = SizeDict(height=height, width=width)
                pixels = self.resize(image, size=size, resample=values["resample"])
            pixels = arithmetic(self, pixels, values)
            rows, columns = height // side, width // side
            cut = pixels.reshape(len(pixels), rows, side, columns, side)
            rows_of_images.append(cut.transpose(1, 3, 2, 4, 0).reshape(rows * columns, -1))
            shapes.append((rows, columns))
        most = values["max_image_tokens"] * values["downsample_factor"] ** 2
        most = max(most, *(len(patches) for patches in rows_of_images))
        padded = [np.pad(patches, ((0, most - len(patches)), (0, 0))) for patches in rows_of_images]
        mask = np.arange(most)[None] < np.array([len(patches) for patches in rows_of_images])[:, None]
        return BatchFeature(
            {
                "pixel_values": np.stack(padded),
                "pixel_attention_mask": mask.astype(np.int32),
                "spatial_shapes": np.array(shapes),
            },
            tensor_type=values["return_tensors"],
        )
