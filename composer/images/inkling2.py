"""Inkling 2's image processor on Pillow; transformers has it on torchvision only.

Transparent images come here without their transparency: transformers puts them on a checkerboard.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from transformers.feature_extraction_utils import BatchFeature
from transformers.image_processing_backends import PilBackend
from transformers.processing_utils import ImagesKwargs

from .levels import arithmetic
from .patch_order import Pixels
from .rules import rule_of


class Inkling2ImageProcessorPil(PilBackend):
    """Images to squares, one per token, at their own size, padded at the bottom and the right.

    Returns ``pixel_values`` (tokens, height, width, channels), each image's squares in raster order, and
    ``image_grid_thw`` (images, 3), in squares.
    """

    valid_kwargs = ImagesKwargs
    model_input_names = ["pixel_values", "image_grid_thw"]  # noqa: RUF012  # as theirs

    def _preprocess(  # type: ignore[override]  # takes other values, as every processor does
        self, images: list[Pixels], **values: Any
    ) -> BatchFeature:
        rule, size = rule_of("Inkling2ImageProcessor", values), values["size"]
        squares, grids = [], []
        for image in images:
            width, height = rule(image.shape[2], image.shape[1])
            missing = ((0, 0), (0, height - image.shape[1]), (0, width - image.shape[2]))
            # Darker than black, so that padding can be told.
            pixels = np.pad(image.astype(np.float32), missing, constant_values=-1.0)
            pixels = arithmetic(self, pixels, values)
            rows, columns = height // size["height"], width // size["width"]
            cut = pixels.reshape(len(pixels), rows, size["height"], columns, size["width"])
            cut = cut.transpose(1, 3, 2, 4, 0)
            squares.append(cut.reshape(-1, *cut.shape[2:]))
            grids.append([1, rows, columns])
        return BatchFeature(
            {"pixel_values": np.concatenate(squares), "image_grid_thw": np.array(grids)},
            tensor_type=values["return_tensors"],
        )
