"""Llama 4's image processor on Pillow, for whole images; transformers has it on torchvision only."""

from __future__ import annotations

from typing import Any

import torch
from transformers.image_processing_backends import PilBackend

from .patch_order import Pixels


class Llama4ImageProcessorPil(PilBackend):
    """An image to one tile. As there, pixels are computed in bfloat16 where they are normalised."""

    do_resize = True
    do_rescale: bool | None
    do_normalize: bool | None

    def rescale(  # type: ignore[override]  # as those on Pillow do
        self, image: Pixels, scale: float, **values: Any
    ) -> Pixels:
        """Multiply 8-bit pixels; in bfloat16 if they are normalised, too."""
        if not (self.do_rescale and self.do_normalize):
            return super().rescale(image, scale, **values)
        pixels: Pixels = (torch.as_tensor(image).to(torch.bfloat16) * scale).float().numpy()
        return pixels

    def normalize(  # type: ignore[override]  # as those on Pillow do
        self, image: Pixels, mean: Any, std: Any, **values: Any
    ) -> Pixels:
        """Subtract and divide; in bfloat16 if pixels were rescaled."""
        if not (self.do_rescale and self.do_normalize):
            return super().normalize(image, mean, std, **values)
        mean, std = (torch.tensor(each, dtype=torch.bfloat16).reshape(-1, 1, 1) for each in (mean, std))
        pixels: Pixels = torch.as_tensor(image).to(torch.bfloat16).sub(mean).div(std).float().numpy()
        return pixels
