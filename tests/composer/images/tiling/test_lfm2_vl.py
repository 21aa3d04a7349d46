"""LFM2-VL's tiling beside the arithmetic in transformers' source; its processor needs torchvision."""

from __future__ import annotations

import random

import numpy as np
import pytest
from PIL import Image
from support.sources import methods_of

from vision_composer import compose, plan
from vision_composer.errors import ConfigError
from vision_composer.images.resize import TokenPixelBudget
from vision_composer.images.tiling import tiling_of
from vision_composer.schemas.tiling.lfm2_vl import Lfm2VlTilingConfig

BUDGET = {"max_image_tokens": 40, "encoder_patch_size": 4, "downsample_factor": 2}
CONFIG = Lfm2VlTilingConfig(type="lfm2_vl", tile_size=24, max_tiles=7, max_pixels_tolerance=1.3)
ENCODER = {
    "model_type": "siglip2_vision_model",
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "patch_size": 4,
}


def test_the_tiles_are_those_of_transformers() -> None:
    names = ("_is_image_too_large", "_target_ratios", "_get_grid_layout", "smart_resize")
    theirs, sizes = methods_of("lfm2_vl", *names), random.Random(0)
    rule = TokenPixelBudget(8, 12 * 64, 40 * 64, patch_size=4)
    ours = tiling_of(CONFIG, 48, rule)
    for _ in range(2_000):
        width, height = sizes.randint(1, 400), sizes.randint(1, 400)
        plan = ours.plan(width, height)
        large = theirs._is_image_too_large(height, width, max_pixels_tolerance=1.3, **BUDGET)
        assert bool(plan.rows) == large, (width, height)
        assert theirs.smart_resize(height, width, min_image_tokens=12, **BUDGET) == rule(width, height)
        if large:
            columns, rows, *canvas, tiles = theirs._get_grid_layout(height, width, 2, 7, 24)
            assert (plan.columns, plan.rows, [*plan.canvas]) == (columns, rows, canvas), (width, height)
            assert plan.num_tiles == tiles + 1


def test_tiles_put_together_are_the_image() -> None:
    """An image that fills its canvas is cut without a change: row after row, then the image whole."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 72, 3), dtype=np.uint8))
    processor = {"type": "Lfm2VlImageProcessor", "mean": [0.0] * 3, "std": [1.0] * 3, "max_pixels": 40 * 64}
    keys = {"schema": 1, "encoder": ENCODER, "output": "tiles", "image_processor": processor}
    made = compose(keys | {"tiling": CONFIG.model_dump(mode="json")}).preprocess([image])
    assert made["spatial_shapes"].tolist() == [[6, 6]] * 6 + [[10, 14]]
    tiles = made["pixel_values"][:6, :36].numpy().reshape(2, 3, 6, 6, 4, 4, 3)
    whole = tiles.transpose(0, 2, 4, 1, 3, 5, 6).reshape(48, 72, 3)
    assert np.abs(whole - np.asarray(image, dtype=np.float32) / 255).max() < 1e-6


@pytest.mark.parametrize("side", [20, 26])
def test_tiles_that_are_no_whole_squares_of_patches(side: int) -> None:
    keys = {"schema": 1, "encoder": ENCODER, "image_processor": {"type": "Lfm2VlImageProcessor"}}
    tiles = {"output": "tiles", "tiling": {"type": "lfm2_vl", "tile_size": side}}
    with pytest.raises(ConfigError, match=rf"^tiling\.tile_size: {side} is no multiple of 8"):
        plan(keys | tiles)
    plan(keys | tiles | {"output": "features"})
