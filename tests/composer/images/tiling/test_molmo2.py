"""Molmo2's tiling beside transformers' own functions, which need torch alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.molmo2.image_processing_molmo2 import (
    batch_pixels_to_patches,
    compute_crop_geometry,
)

from vision_composer import compose
from vision_composer.errors import ConfigError
from vision_composer.images.resize import FixedSize, PixelBudget
from vision_composer.images.tiling import AnyTiling, tiling_of
from vision_composer.schemas.tiling.molmo2 import Molmo2TilingConfig

ENCODER = {
    "model_type": "molmo2_vision",
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "image_size": 40,
    "patch_size": 8,
}


def of(max_crops: int, margins: tuple[int, int], side: int = 40, patch: int = 8) -> AnyTiling:
    config = Molmo2TilingConfig(type="molmo2", max_crops=max_crops, overlap_margins=margins)
    return tiling_of(config, side, FixedSize(side, side, patch))


@pytest.mark.parametrize(
    ("most", "margins", "side", "patch"), [(8, (4, 4), 378, 14), (5, (1, 0), 40, 8), (24, (0, 2), 40, 8)]
)
def test_the_crops_are_those_of_transformers(
    most: int, margins: tuple[int, int], side: int, patch: int
) -> None:
    sizes, ours, overlap = random.Random(0), of(most, margins, side, patch), sum(margins) * patch
    for i in range(600):
        width, height = sizes.randint(1, 6 * side), sizes.randint(1, 6 * side)
        if i % 10 == 0:  # nothing is left of such an image without its margins
            width = overlap or 1
        plan = ours.plan(width, height)
        rows, columns, *canvas = compute_crop_geometry(height, width, most, list(margins), side, patch)
        assert (plan.rows, plan.columns, [*plan.canvas[::-1]]) == (rows, columns, canvas), (width, height)
        assert all((right - left, bottom - top) == (side, side) for left, top, right, bottom in plan.boxes)
        assert plan.boxes[-1][2:] == plan.canvas


def test_crops_overlap_as_planned() -> None:
    """Of an image that fills its canvas no pixel changes: the image whole, then the crops."""
    plan = of(6, (1, 1)).plan(64, 88)
    assert (plan.rows, plan.columns, plan.canvas) == (3, 2, (64, 88))
    assert plan.boxes[:3] == ((0, 0, 40, 40), (24, 0, 64, 40), (0, 24, 40, 64))
    image = np.random.default_rng(0).integers(0, 256, (88, 64, 3), dtype=np.uint8)
    tiling = {"type": "molmo2", "max_crops": 6, "overlap_margins": [1, 1]}
    values = {"mean": [0.0] * 3, "std": [1.0] * 3}
    keys = {"schema": 1, "encoder": ENCODER, "output": "tiles", "tiling": tiling, "image_processor": values}
    tiles = compose(keys).preprocess([Image.fromarray(image)])["pixel_values"]
    assert len(tiles) == 7
    for tile, (left, top, right, bottom) in zip(tiles[1:], plan.boxes, strict=True):
        crop = torch.from_numpy(image[top:bottom, left:right])[None]
        assert (tile * 255 - batch_pixels_to_patches(crop, 8)[0]).abs().max() < 1e-4


def test_margins_leave_a_part_of_a_crop() -> None:
    with pytest.raises(ConfigError, match="crops of 40 pixels lie wholly in margins of 24 and 16 pixels"):
        of(4, (3, 2)).plan(100, 100)


def test_other_image_processors_are_refused() -> None:
    config = Molmo2TilingConfig(type="molmo2")
    with pytest.raises(ConfigError, match="Molmo2ImageProcessor"):
        tiling_of(config, 40, PixelBudget(8, 64, 640)).plan(100, 100)
