"""Idefics2: the quarters of an image and the image whole, at the sizes of transformers' image processor."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.tilings import CASES, assert_cut_as_planned, tiling
from transformers import Idefics2ImageProcessorPil

from vision_composer import compose
from vision_composer.errors import ConfigError, ImageError, InputError
from vision_composer.images.resize import EdgeBounds, FixedSize, PixelBudget
from vision_composer.images.tiling import tiling_of
from vision_composer.schemas.tiling.idefics2 import Idefics2TilingConfig

CONFIG = Idefics2TilingConfig(type="idefics2")
PROCESSOR = Idefics2ImageProcessorPil(**CASES["idefics2"][1])
ENCODER = {
    "model_type": "idefics2_vision",
    "hidden_size": 8,
    "intermediate_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "image_size": 32,
    "patch_size": 4,
}
KEYS = {"schema": 1, "encoder": ENCODER, "output": "tiles", "tiling": {"type": "idefics2"}}


def test_as_many_tiles_are_planned_as_the_processor_cuts() -> None:
    assert_cut_as_planned("idefics2")


@settings(max_examples=60, deadline=None)
@given(width=st.integers(2, 200), height=st.integers(2, 200))
def test_every_tile_has_the_planned_size(width: int, height: int) -> None:
    ours = tiling_of(CONFIG, 40, EdgeBounds(12, 40))
    masks = ours.cut(PROCESSOR, Image.new("RGB", (width, height)))["pixel_attention_mask"]
    sizes = [(int(mask[0].sum()), int(mask[:, 0].sum())) for mask in masks]
    assert ours.sizes(ours.plan(width, height)) == sizes


def test_a_rule_of_one_size_gives_it_to_every_tile() -> None:
    ours = tiling_of(CONFIG, 16, FixedSize(16, 12))
    assert ours.sizes(ours.plan(40, 30)) == [(16, 12)] * 5


def test_quarters_put_together_are_the_image() -> None:
    """Where no size is changed: the quarters row after row, padded, and then the image whole."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (17, 27, 3), dtype=np.uint8))
    processor = {"mean": [0.0] * 3, "std": [1.0] * 3, "size": {"shortest_edge": 4, "longest_edge": 32}}
    tiles = compose(KEYS | {"image_processor": processor}).preprocess([image])["pixel_values"].numpy()
    upper = np.concatenate((tiles[0, :, :8, :13], tiles[1, :, :8, :14]), axis=2)
    lower = np.concatenate((tiles[2, :, :9, :13], tiles[3, :, :9, :14]), axis=2)
    whole = np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 255
    assert np.abs(np.concatenate((upper, lower), axis=1) - whole).max() < 1e-6
    assert np.abs(tiles[4] - whole).max() < 1e-6


def test_padding_is_zero_behind_the_arithmetic() -> None:
    processor = {"size": {"shortest_edge": 4, "longest_edge": 32}}
    made = compose(KEYS | {"image_processor": processor}).preprocess([Image.new("RGB", (37, 20))])
    padding = made["pixel_values"].mul(1 - made["pixel_attention_mask"][:, None])
    assert padding.abs().max() == 0
    assert made["pixel_attention_mask"].min() == 0


def test_an_image_without_quarters_is_refused() -> None:
    with pytest.raises(InputError, match="1x40 pixels has no quarters"):
        tiling("idefics2").plan(1, 40)
    with pytest.raises(ImageError, match="no quarters"):
        compose(KEYS).encode(Image.new("RGB", (40, 1)))


def test_other_image_processors_are_refused() -> None:
    ours = tiling_of(CONFIG, 16, PixelBudget(8, 64, 640))
    with pytest.raises(ConfigError, match="Idefics2ImageProcessor"):
        ours.sizes(ours.plan(40, 30))
