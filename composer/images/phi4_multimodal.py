"""Phi-4-multimodal's image processor without torchvision; transformers has it on torchvision only."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad
from transformers.feature_extraction_utils import BatchFeature
from transformers.image_processing_backends import PilBackend
from transformers.processing_utils import ImagesKwargs

from ..schemas.processor_class import BICUBIC, BILINEAR
from ..schemas.tiling.phi4_multimodal import Phi4MultimodalTilingConfig
from .patch_order import Pixels
from .tiling.phi4_multimodal import Phi4MultimodalTiling, shown_size, valid_patches

_MODES = {BILINEAR: "bilinear", BICUBIC: "bicubic"}
_WHITE = 255.0


class Phi4MultimodalImageProcessorKwargs(ImagesKwargs, total=False):
    """Its arguments beside those of every image processor, and whether there are tiles."""

    patch_size: int
    dynamic_hd: int
    crop_to_patches: bool


class Phi4MultimodalImageProcessorPil(PilBackend):
    """An image to ``pixel_values`` (tiles, channels, height, width): its whole, and its tiles if so told.

    ``patch_attention_mask`` (tiles, rows, columns) says which patches are not padding.
    """

    do_resize = True
    dynamic_hd = 36
    crop_to_patches = False
    valid_kwargs = Phi4MultimodalImageProcessorKwargs
    model_input_names = ["pixel_values", "patch_attention_mask"]  # noqa: RUF012  # as theirs

    def _preprocess(  # type: ignore[override]  # takes other values, as every processor does
        self, images: list[Pixels], **values: Any
    ) -> BatchFeature:
        views = [_views(image, values) for image in images]
        pixels, masks = (torch.cat(parts).numpy() for parts in zip(*views, strict=True))
        output = {"pixel_values": pixels, "patch_attention_mask": masks}
        return BatchFeature(output, tensor_type=values["return_tensors"])


def _views(image: Pixels, values: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Return the image whole and its tiles, if there are to be any, and the masks of their patches."""
    if values["resample"] not in _MODES:
        raise ValueError(
            f"resample is {values['resample']}; this image processor takes {BILINEAR} and {BICUBIC}"
        )
    side, patch = values["size"].height, values["patch_size"]
    config = Phi4MultimodalTilingConfig(type="phi4_multimodal", dynamic_hd=values["dynamic_hd"])
    plan = Phi4MultimodalTiling(config, side).any_plan(image.shape[2], image.shape[1])
    width, height = shown_size(plan)
    shown = interpolate(
        torch.from_numpy(np.ascontiguousarray(image))[None],
        (height, width),
        mode="bilinear",
        align_corners=False,
        antialias=True,
    )
    canvas = pad(shown, (0, plan.canvas[0] - width, 0, plan.canvas[1] - height), value=_WHITE).float()
    if values["do_rescale"]:
        canvas = canvas * values["rescale_factor"]
    if values["do_normalize"]:
        mean, std = (torch.tensor(values[name]).view(-1, 1, 1) for name in ("image_mean", "image_std"))
        canvas = (canvas - mean) / std
    # Shrunk behind the arithmetic and without smoothing, as there.
    whole = interpolate(canvas, (side, side), mode=_MODES[values["resample"]], align_corners=False)
    mask = torch.zeros(plan.rows, plan.columns, side // patch, side // patch, dtype=torch.bool)
    everything = torch.ones(1, *mask.shape[2:], dtype=torch.bool)
    if not values["crop_to_patches"]:
        return whole, everything
    rows, columns = valid_patches(plan, patch)
    on_canvas = torch.zeros(plan.rows * (side // patch), plan.columns * (side // patch), dtype=torch.bool)
    on_canvas[:rows, :columns] = True
    mask = on_canvas.view(plan.rows, side // patch, plan.columns, side // patch).transpose(1, 2)
    tiles = [canvas[..., top:bottom, left:right] for left, top, right, bottom in plan.boxes]
    return torch.cat((whole, *tiles)), torch.cat((everything, mask.flatten(0, 1)))
