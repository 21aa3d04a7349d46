"""Every tiling beside the image processor in transformers whose cuts it plans."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vision_composer.images.tiling import TILINGS, AnyTiling, tiling_of
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
    "gemma3": (
        {
            "pan_and_scan_min_crop_size": 20,
            "pan_and_scan_max_num_crops": 3,
            "pan_and_scan_min_ratio_to_activate": 1.3,
        },
        {"size": SIDE},
    ),
    "idefics3": ({"longest_edge": 64}, {}),
}
"""type -> fields of the config block, and arguments of transformers' processor."""
NAMES = sorted(CASES)


def tiling(name: str) -> AnyTiling:
    fields, _ = CASES[name]
    return tiling_of(tiling_config({"type": name, **fields}), 16)  # type: ignore[arg-type]  # none is no block


def tiles(name: str, width: int, height: int) -> int:
    planned = tiling(name)
    processor = getattr(transformers, f"{planned.processor}Pil")(**CASES[name][1])
    image = Image.fromarray(np.zeros((height, width, 3), dtype=np.uint8))
    return len(planned.cut(processor, image)["pixel_values"])


def test_every_tiling_is_tried() -> None:
    assert set(CASES) == set(TILINGS)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(width=st.integers(1, 200), height=st.integers(1, 200))
def test_as_many_tiles_are_planned_as_the_processor_cuts(name: str, width: int, height: int) -> None:
    assert tiling(name).plan(width, height).num_tiles == tiles(name, width, height)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40, deadline=None)
@given(width=st.integers(1, 3_000), height=st.integers(1, 3_000))
def test_the_boxes_cover_the_canvas(name: str, width: int, height: int) -> None:
    plan = tiling(name).plan(width, height)
    assert (plan.width, plan.height) == (width, height)
    assert len(plan.boxes) == plan.rows * plan.columns == plan.num_tiles - (plan.whole != "none")
    if plan.boxes:
        assert plan.boxes[0][:2] == (0, 0)
        assert plan.boxes[-1][2:] == plan.canvas
