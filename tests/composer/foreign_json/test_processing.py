"""Images as timm and open_clip prepare them, step by step with Pillow, beside the pixels of the encoder."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.images import noise_image

from vision_composer import compose, load_config
from vision_composer.config_json import tower_from_transformers

SIDE = 32
MEAN, STD = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
SMALL = {"embed_dim": 32, "depth": 1, "num_heads": 4, "img_size": SIDE, "patch_size": 8}
VISION = {"image_size": SIDE, "layers": 1, "width": 32, "head_width": 8, "patch_size": 8}


def timm(**images: Any) -> dict[str, Any]:
    cfg = {"input_size": [3, SIDE, SIDE], "mean": MEAN, "std": STD, **images}
    return {"architecture": "vit_tiny_patch16_224", "model_args": SMALL, "pretrained_cfg": cfg}


def open_clip(**images: Any) -> dict[str, Any]:
    return {"model_cfg": {"vision_cfg": VISION}, "preprocess_cfg": {"mean": MEAN, "std": STD, **images}}


def prepared(image: Image.Image, scale: int, squash: bool, resample: Image.Resampling) -> torch.Tensor:
    """Resize, cut out the middle, scale to 0 to 1, normalise."""
    short = min(image.size)
    size = (scale, scale) if squash else tuple(int(scale * side / short) for side in image.size)
    resized = image.resize(size, resample)
    left, top = ((side - SIDE) // 2 for side in resized.size)
    cropped = resized.crop((left, top, left + SIDE, top + SIDE))
    pixels = (np.asarray(cropped, dtype=np.float64) / 255 - MEAN) / STD
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float()


@pytest.mark.parametrize(
    ("fields", "scale", "squash", "resample"),
    [
        (timm(crop_pct=0.8), 40, False, Image.Resampling.BICUBIC),
        (timm(), math.floor(SIDE / 0.875), False, Image.Resampling.BICUBIC),
        (timm(crop_pct=1.0, interpolation="bilinear"), SIDE, False, Image.Resampling.BILINEAR),
        (timm(crop_pct=1.0, crop_mode="squash"), SIDE, True, Image.Resampling.BICUBIC),
        (timm(crop_pct=0.8, crop_mode="squash"), 40, True, Image.Resampling.BICUBIC),
        (open_clip(), SIDE, False, Image.Resampling.BICUBIC),
        (open_clip(interpolation="bilinear", resize_mode="squash"), SIDE, True, Image.Resampling.BILINEAR),
    ],
)
@pytest.mark.parametrize("size", [(60, 40), (32, 96), (20, 20)])
def test_pixels_are_those_of_the_library(
    fields: dict[str, Any], scale: int, squash: bool, resample: Image.Resampling, size: tuple[int, int]
) -> None:
    encoder = compose(load_config(tower_from_transformers(fields)))
    image = noise_image(*size)
    pixels = encoder.preprocess([image])["pixel_values"]
    torch.testing.assert_close(pixels, prepared(image, scale, squash, resample), rtol=1e-5, atol=1e-5)


def test_means_that_are_missing_are_the_librarys() -> None:
    fields = timm()
    del fields["pretrained_cfg"]["mean"], fields["pretrained_cfg"]["std"]
    block = load_config(tower_from_transformers(fields)).image_processor
    assert (block.mean, block.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    fields = open_clip()
    del fields["preprocess_cfg"]["mean"]
    assert load_config(tower_from_transformers(fields)).image_processor.mean[0] == pytest.approx(0.48145466)
