"""Tilings of tiles of 16 pixels, and transformers' image processors that cut images so."""

from __future__ import annotations

from typing import Any

import numpy as np
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from support.vlms.parts import CLIP
from vision_composer import compose
from vision_composer.images.tiling import AnyTiling, tiling_of
from vision_composer.schemas.tiling import tiling_config

SIDE = {"height": 16, "width": 16}
PINPOINTS = [[16, 32], [32, 16], [32, 32], [48, 16], [48, 48]]
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "llava_next": (
        {"image_grid_pinpoints": PINPOINTS},
        {"size": {"shortest_edge": 16}, "crop_size": SIDE},
    ),
    "llava_onevision": ({"image_grid_pinpoints": PINPOINTS}, {"size": SIDE}),
    "got_ocr2": ({"min_patches": 2, "max_patches": 7}, {"size": SIDE}),
    "ovis2": ({"max_patches": 9}, {"size": SIDE}),
    "granite_docling": (
        {"max_patches": 5, "dense_max_patches": 19, "dense_max_scale": 0.9, "dense_min_aspect": 1.2},
        {"size": SIDE},
    ),
    "gemma3": (
        {
            "pan_and_scan_min_crop_size": 20,
            "pan_and_scan_max_num_crops": 3,
            "pan_and_scan_min_ratio_to_activate": 1.3,
        },
        {"size": SIDE},
    ),
    "idefics2": ({}, {"size": {"shortest_edge": 12, "longest_edge": 40}}),
    "idefics3": ({"longest_edge": 64}, {}),
}
"""type -> fields of the config block, and arguments of transformers' processor."""


def tiling(name: str, **fields: Any) -> AnyTiling:
    """A tiling of a type, with the fields of its case or others."""
    fields = fields or CASES.get(name, ({}, {}))[0]
    return tiling_of(tiling_config({"type": name, **fields}), 16)  # type: ignore[arg-type]  # none is no block


def assert_cut_as_planned(name: str) -> None:
    """Assert for images of many sizes that the processor cuts as many tiles as are planned."""
    planned = tiling(name)
    processor = getattr(transformers, f"{planned.processor}Pil")(**CASES[name][1])

    @settings(max_examples=40, deadline=None)
    @given(width=st.integers(2, 200), height=st.integers(2, 200))
    def check(width: int, height: int) -> None:
        image = Image.fromarray(np.zeros((height, width, 3), dtype=np.uint8))
        tiles = planned.cut(processor, image)["pixel_values"]
        assert len(tiles) == planned.plan(width, height).num_tiles

    check()


def assert_tiles_make_the_image(name: str, processor: str) -> None:
    """Assert that an image that fills its canvas is cut without a change: row after row, then it whole."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8))
    keys = {"schema": 1, "encoder": CLIP | {"image_size": 16}, "output": "tiles", "tiling": {"type": name}}
    values = {"type": processor, "mean": [0.0] * 3, "std": [1.0] * 3}
    tiles = compose(keys | {"image_processor": values}).preprocess([image])["pixel_values"].numpy()
    assert len(tiles) == 7
    whole = tiles[:6].reshape(2, 3, 3, 16, 16).transpose(2, 0, 3, 1, 4).reshape(3, 32, 48)
    expected = np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 255
    assert np.abs(whole - expected).max() < 5e-3  # Llama 4 computes in bfloat16
