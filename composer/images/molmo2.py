"""Molmo2's image processor without torchvision, for whole images; transformers has it on torchvision only."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate
from transformers.feature_extraction_utils import BatchFeature
from transformers.image_processing_backends import PilBackend
from transformers.processing_utils import ImagesKwargs

from ..schemas.processor_class import BICUBIC, BILINEAR
from .levels import arithmetic
from .patch_order import Pixels

_MODES = {BILINEAR: "bilinear", BICUBIC: "bicubic"}


class Molmo2ImageProcessorKwargs(ImagesKwargs, total=False):
    """Its arguments beside those of every image processor, without those of crops."""

    patch_size: int


class Molmo2ImageProcessorPil(PilBackend):
    """An image squashed to a square, as rows of patches, (images, patches, height x width x channels)."""

    do_resize = True
    valid_kwargs = Molmo2ImageProcessorKwargs
    model_input_names = ["pixel_values"]  # noqa: RUF012  # as theirs

    def resize(  # type: ignore[override]  # takes what it needs
        self, image: Pixels, size: Any, resample: int | None, **values: Any
    ) -> Pixels:
        """Resize as there: in float32, between the nearest pixels alone, and back to 8 bits.

        Raises:
            ValueError: If it is no filter that torch has without smoothing.
        """
        if resample not in _MODES:
            raise ValueError(f"resample is {resample}; this image processor takes {BILINEAR} and {BICUBIC}")
        pixels = torch.from_numpy(np.ascontiguousarray(image))[None].float()
        resized = interpolate(pixels, (size.height, size.width), mode=_MODES[resample], align_corners=False)
        found: Pixels = resized[0].round().clamp(0, 255).to(torch.uint8).numpy()
        return found

    def _preprocess(  # type: ignore[override]  # takes other values, as every processor does
        self, images: list[Pixels], **values: Any
    ) -> BatchFeature:
        side, rows_of_images = values["patch_size"], []
        for image in images:
            pixels = image
            if values["do_resize"]:  # a crop is not
                pixels = self.resize(image, values["size"], values["resample"])
            pixels = arithmetic(self, pixels, values)
            channels, height, width = pixels.shape
            rows, columns = height // side, width // side
            whole = pixels[:, : rows * side, : columns * side]
            cut = whole.reshape(channels, rows, side, columns, side)
            rows_of_images.append(cut.transpose(1, 3, 2, 4, 0).reshape(rows * columns, -1))
        return BatchFeature({"pixel_values": np.stack(rows_of_images)}, tensor_type=values["return_tensors"])
