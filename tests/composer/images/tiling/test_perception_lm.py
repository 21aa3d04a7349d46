"""PerceptionLM's tiling beside the arithmetic in transformers' source; its processor needs torchvision."""

from __future__ import annotations

import random
from functools import reduce

import numpy as np
import pytest
from PIL import Image
from support.sources import methods_of
from support.vlms.parts import CLIP

from vision_composer import compose
from vision_composer.images.tiling import TILINGS, tiling_of
from vision_composer.schemas.tiling.perception_lm import PerceptionLmTilingConfig


@pytest.mark.parametrize("most", [1, 7, 36])
def test_the_canvases_are_those_of_transformers(most: int) -> None:
    names = ("_factors", "_find_supported_aspect_ratios", "_get_image_height_width")
    theirs = methods_of(
        "perception_lm", *names, "_fit_image_to_canvas", "_find_closest_aspect_ratio", reduce=reduce
    )
    theirs.max_num_tiles = most
    ours = tiling_of(PerceptionLmTilingConfig(type="perception_lm", max_num_tiles=most), 16)
    sizes = random.Random(0)
    for i in range(600):
        width, height = sizes.randint(1, 150), sizes.randint(1, 150)
        if i % 5 == 0:
            height = width
        fitting = theirs._fit_image_to_canvas(width, height, 16)
        wanted = fitting or theirs._find_closest_aspect_ratio(width, height, 16)
        plan = ours.plan(width, height)
        assert (plan.columns, plan.rows) == (wanted if most > 1 else (1, 1)), (width, height)
        assert plan.whole == "first"


def test_tiles_put_together_are_the_image() -> None:
    """An image that fills its canvas is cut without a change: the image whole, then row after row."""
    image = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    keys = {"schema": 1, "encoder": CLIP | {"image_size": 16}, "output": "tiles"}
    keys |= {"tiling": {"type": "perception_lm", "max_num_tiles": 6}}
    keys |= {"image_processor": {"mean": [0.0] * 3, "std": [1.0] * 3}}
    encoder = compose(keys)
    tiles = encoder.preprocess([Image.fromarray(image)])["pixel_values"].numpy()
    assert len(tiles) == 7 == len(encoder.encode(Image.fromarray(image))[0]) / 5
    whole = tiles[1:].reshape(2, 3, 3, 16, 16).transpose(2, 0, 3, 1, 4).reshape(3, 32, 48)
    assert np.abs(whole - image.transpose(2, 0, 1) / 255).max() < 1e-6


def test_a_single_view_is_no_tiling() -> None:
    tiling = TILINGS["perception_lm"]
    assert tiling.fields_of({"vision_input_type": "vanilla", "max_num_tiles": 4}) is None
    assert tiling.fields_of({"vision_input_type": "thumb+tile", "max_num_tiles": 4}) == {"max_num_tiles": 4}
    assert tiling.fields_of({}) == {}
