"""Llama 4's image processor on Pillow, for whole images; transformers has it on torchvision only."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from transformers.feature_extraction_utils import BatchFeature
from transformers.image_processing_backends import PilBackend

Pixels: TypeAlias = "np.ndarray[Any, Any]"


class Llama4ImageProcessorPil(PilBackend):
    """An image to one tile. As there, pixels are computed in bfloat16 where they are normalised."""

    do_resize = True

    def _preprocess(  # type: ignore[override]  # takes other values, as every processor does
        self, images: list[Pixels], **values: Any
    ) -> BatchFeature:
        in_bfloat16 = values["do_rescale"] and values["do_normalize"]
        if not in_bfloat16:
            return super()._preprocess(images, **values)
        mean, std = (
            torch.tensor(values[name], dtype=torch.bfloat16).reshape(-1, 1, 1)
            for name in ("image_mean", "image_std")
        )
        output = super()._preprocess(images, **{**values, "do_rescale": False, "do_normalize": False})
        pixels = torch.as_tensor(np.stack(output["pixel_values"])).to(torch.bfloat16)
        output["pixel_values"] = (pixels * values["rescale_factor"]).sub(mean).div(std).float().numpy()
        return output
