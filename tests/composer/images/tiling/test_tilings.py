"""Every tiling beside the image processor in transformers whose cuts it plans."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.vlms.parts import CLIP

from vision_composer import compose
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
    "idefics3": ({"longest_edge": 64}, {}),
}
"""type -> fields of the config block, and arguments of transformers' processor."""
NAMES = sorted(CASES)
PROCESSORS = {"cohere2_vision": "Cohere2VisionImageProcessor", "llama4": "Llama4ImageProcessor"}


def tiling(name: str) -> AnyTiling:
    fields, _ = CASES[name]
    return tiling_of(tiling_config({"type": name, **fields}), 16)  # type: ignore[arg-type]  # none is no block


def tiles(name: str, width: int, height: int) -> int:
    planned = tiling(name)
    processor = getattr(transformers, f"{planned.processor}Pil")(**CASES[name][1])
    image = Image.fromarray(np.zeros((height, width, 3), dtype=np.uint8))
    return len(planned.cut(processor, image)["pixel_values"])


def test_every_tiling_is_tried() -> None:
    own = {name for name, tiling in TILINGS.items() if not tiling.processor}
    assert set(CASES) | own == set(TILINGS)
    assert own == {"cohere2_vision", "lfm2_vl", "llama4"}


def pixels(settings: dict[str, object], name: str, image: Image.Image) -> np.ndarray[Any, Any]:
    """What a tiling makes of an image by itself, its values scaled to 0 to 1."""
    keys = {"schema": 1, "encoder": CLIP | {"image_size": 16}, "output": "tiles", "tiling": {"type": name}}
    encoder = compose(keys | {"image_processor": {"mean": [0.0] * 3, "std": [1.0] * 3, **settings}})
    return encoder.preprocess([image])["pixel_values"].numpy()


# Canvas and where the image lies on it, worked out by hand from the rules of the two processors.
@pytest.mark.parametrize(
    ("name", "size", "grid"),
    [
        ("cohere2_vision", (16, 16), (0, 0)),
        ("cohere2_vision", (17, 16), (1, 2)),
        ("cohere2_vision", (40, 20), (2, 3)),
        ("cohere2_vision", (500, 20), (1, 12)),
        ("llama4", (16, 16), (1, 1)),
        ("llama4", (17, 10), (1, 2)),
        ("llama4", (100, 100), (4, 4)),
    ],
)
def test_the_canvas_that_enlarges_least(name: str, size: tuple[int, int], grid: tuple[int, int]) -> None:
    plan = tiling_of(tiling_config({"type": name}), 16).plan(*size)  # type: ignore[arg-type]  # none is no block
    assert (plan.rows, plan.columns) == grid
    assert plan.num_tiles == max(grid[0] * grid[1], 1) + (grid[0] * grid[1] > 1)


@pytest.mark.parametrize("name", ["cohere2_vision", "llama4"])
def test_tiles_put_together_are_the_image(name: str) -> None:
    """An image that fills its canvas is cut without a change: row after row, then the image whole."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8))
    tiles = pixels({"type": PROCESSORS[name]}, name, image)
    assert len(tiles) == 7
    whole = tiles[:6].reshape(2, 3, 3, 16, 16).transpose(2, 0, 3, 1, 4).reshape(3, 32, 48)
    expected = np.asarray(image, dtype=np.float32).transpose(2, 0, 1) / 255
    assert np.abs(whole - expected).max() < 5e-3  # Llama 4 computes in bfloat16


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
