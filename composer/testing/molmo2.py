"""transformers' own Molmo2 image processor without torchvision: its two calls of that library on torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from transformers.models.molmo2.image_processing_molmo2 import Molmo2ImageProcessor

_ARGUMENTS = (
    *("do_convert_rgb", "do_resize", "size", "resample", "do_rescale", "rescale_factor", "do_normalize"),
    *("image_mean", "image_std", "max_crops", "overlap_margins", "patch_size", "pooling_size"),
)


class Molmo2WithoutTorchvision(Molmo2ImageProcessor):
    """Crops, patches and the patches of every row as transformers has them."""

    def __call__(  # type: ignore[override]  # what it is called with here
        self, images: list[Image.Image], **options: Any
    ) -> dict[str, Tensor]:
        pixels = [torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images]
        values = {name: getattr(self, name) for name in _ARGUMENTS}
        return dict(self._preprocess(pixels, disable_grouping=True, return_tensors="pt", **values))

    def resize(  # type: ignore[override]  # what it is called with there
        self, image: Tensor, size: Any, **options: Any
    ) -> Tensor:
        """Resize without smoothing, as torchvision does on pixels that are floats."""
        return interpolate(image, (size.height, size.width), mode="bilinear", align_corners=False)

    def rescale_and_normalize(self, images: Tensor, *values: Any) -> Tensor:
        """Do all of the processor's arithmetic."""
        _, factor, _, *mean_and_std = values
        mean, std = (torch.tensor(each).view(-1, 1, 1) for each in mean_and_std)
        pixels: Tensor = (images * factor - mean) / std
        return pixels
