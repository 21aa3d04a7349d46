"""What packed towers take and refuse, and the sizes that images get for them."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from support import tiny
from transformers.models.glm4v.image_processing_pil_glm4v import smart_resize as glm_resize
from transformers.models.pixtral.image_processing_pil_pixtral import get_resize_output_image_size
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from vision_composer import compose, plan
from vision_composer.errors import BackendError, ConfigError, InputError
from vision_composer.images.resize import EnlargingPixelBudget, LongestEdge, PaddedPatchBudget, PixelBudget


def run(encoder: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        return encoder(**batch)


@cache
def kimi_resize() -> Callable[..., Any]:
    """transformers' function, whose module imports torchvision: read from its source."""
    file = Path(transformers.__file__).parent / "models/kimi_k25/image_processing_kimi_k25.py"
    functions = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef)]
    [function] = [node for node in functions if node.name == "navit_resize"]
    scope: dict[str, Any] = {"math": math}
    exec(compile(ast.Module([function], []), str(file), "exec"), scope)
    return scope["navit_resize"]


@given(st.integers(1, 20000), st.integers(1, 20000))
@settings(max_examples=300, deadline=None)
def test_sizes_are_those_of_transformers_processors(width: int, height: int) -> None:

    for factor, least, most in ((28, 3136, 1003520), (32, 65536, 16777216), (28, 4, 784)):
        try:
            rows, columns = smart_resize(height, width, factor, least, most)
        except ValueError:
            with pytest.raises(InputError, match="too thin"):
                PixelBudget(factor, least, most)(width, height)
        else:
            assert PixelBudget(factor, least, most)(width, height) == (columns, rows)
    for frames, factor, least, most in ((2, 28, 12544, 11760000), (3, 28, 784, 100000)):
        try:
            rows, columns = glm_resize(frames, height, width, frames, factor, least, most)
        except ValueError:
            with pytest.raises(InputError, match="too thin"):
                EnlargingPixelBudget(factor, least, most, frames)(width, height)
        else:
            assert EnlargingPixelBudget(factor, least, most, frames)(width, height) == (columns, rows)
    for most, side in ((16384, 512), (1000, 40)):
        rule = PaddedPatchBudget(14, 2, most, side)
        scaled, padded = kimi_resize()(height, width, 14, 2, most, side)
        assert (rule.scaled(width, height), rule(width, height)) == (scaled[::-1], padded[::-1])
    image = np.broadcast_to(np.zeros(1, np.uint8), (3, height, width))
    for edge, patch in ((1024, 16), (1540, 14)):
        rows, columns = get_resize_output_image_size(image, edge, patch, "channels_first")
        if min(rows, columns) < 1:
            with pytest.raises(InputError, match="too thin"):
                LongestEdge(edge, edge, patch, patch)(width, height)
        else:
            assert LongestEdge(edge, edge, patch, patch)(width, height) == (columns, rows)


def test_frames_count_in_temporal_patches() -> None:
    planned = plan({"schema": 1, "encoder": tiny.PACKED["qwen2_vl_vision"]})
    one = planned.num_tokens(64, 64)
    assert [planned.num_tokens(64, 64, frames) for frames in (1, 2, 3, 4)] == [one, one, 2 * one, 2 * one]
    with pytest.raises(InputError, match="0 frames"):
        planned.num_tokens(64, 64, 0)


def qwen(rows: int = 4, grid: Any = ((1, 2, 2),), **more: Any) -> dict[str, Any]:
    return {"pixel_values": torch.zeros(rows, 96), "image_grid_thw": torch.tensor(grid), **more}


def kimi(grid: Any = ((1, 2, 2),)) -> dict[str, Any]:
    grids = torch.tensor(grid)
    return {"pixel_values": torch.zeros(int(grids.prod(1).sum()), 3, 4, 4), "image_grid_thw": grids}


def pixtral(size: Any = ((8, 8),), images: int = 1, **more: Any) -> dict[str, Any]:
    return {"pixel_values": torch.zeros(images, 3, 16, 24), "image_sizes": torch.tensor(size), **more}


@pytest.mark.parametrize(
    ("name", "batch", "message"),
    [
        ("qwen2_vl_vision", qwen(rows=5), "4 patches, but pixel_values has 5"),
        ("qwen2_vl_vision", qwen(grid=((1, 1, 4),)), "multiples of 2"),
        ("qwen2_vl_vision", qwen(grid=((0, 2, 2),)), r"is \(0, 2, 2\); all three must be at least 1"),
        ("qwen2_vl_vision", qwen(grid=((1, -2, -2),)), "all three must be at least 1"),
        ("qwen2_vl_vision", qwen(grid=(1, 2, 2)), r"\(images, 3\)"),
        ("qwen2_vl_vision", qwen(grid=((1.0, 2.0, 2.0),)), "integers"),
        ("qwen2_vl_vision", qwen() | {"image_grid_thw": [[1, 2, 2]]}, "must be a tensor, not list"),
        ("qwen2_vl_vision", {"pixel_values": torch.zeros(4, 96)}, "must be a tensor, not NoneType"),
        ("qwen2_vl_vision", {}, "pixel_values must be a tensor"),
        ("qwen2_vl_vision", qwen() | {"pixel_values": torch.zeros(4, 95)}, r"\(patches, 96\)"),
        ("qwen2_vl_vision", qwen() | {"pixel_values": torch.zeros(4, 96).int()}, "normalised floats"),
        ("qwen2_vl_vision", qwen(grid_thw=1), "unexpected input grid_thw"),
        ("qwen2_vl_vision", qwen(video_grid_thw=torch.ones(1, 3)), "unexpected input"),
        ("glm4v_vision", qwen(grid=((1, 1, 4),)), "multiples of 2"),
        ("kimi_k25_vision", qwen(), r"\(patches, 3, 4, 4\)"),
        (
            "kimi_k25_vision",
            kimi(grid=((5, 2, 2),)),
            r"_thw\[0\] has 5 frames, .* positions for 4",
        ),
        ("minimax_m3_vl_vision", qwen(grid=((1, 3, 4),)), "multiples of 2"),
        ("pixtral", pixtral(images=2), "1 rows for 2 images"),
        ("pixtral", pixtral(size=((17, 8),)), "does not fit"),
        ("pixtral", pixtral(size=((7, 8),)), "smaller than one patch"),
        ("pixtral", pixtral(size=((-8, 8),)), "smaller than one patch"),
        ("pixtral", pixtral(size=((8, 8, 8),)), r"\(images, 2\)"),
        ("pixtral", pixtral(image_grid_thw=1), "unexpected input image_grid_thw"),
        ("pixtral", pixtral() | {"pixel_values": torch.zeros(3, 16, 24)}, "height, width"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(name: str, batch: dict[str, Any], message: str) -> None:
    encoder = compose({"schema": 1, "encoder": tiny.PACKED[name]})
    with pytest.raises(InputError, match=message):
        encoder(**batch)


def test_no_images_and_clips_by_their_own_names() -> None:
    encoder = compose({"schema": 1, "encoder": tiny.PACKED["qwen2_vl_vision"]})
    empty = {"pixel_values": torch.zeros(0, 96), "image_grid_thw": torch.zeros(0, 3, dtype=torch.int64)}
    assert encoder(**empty) == ()
    pixels, grid = torch.randn(16, 96), torch.tensor([[2, 2, 4]])
    named = run(encoder, {"pixel_values_videos": pixels, "video_grid_thw": grid})
    assert torch.equal(named[0], run(encoder, {"pixel_values": pixels, "image_grid_thw": grid})[0])
    pixtral_encoder = compose({"schema": 1, "encoder": tiny.PACKED["pixtral"]})
    assert pixtral_encoder(pixel_values=torch.zeros(0, 3, 8, 8)) == ()


def test_attention_backends() -> None:
    keys = {"schema": 1, "encoder": tiny.PACKED["pixtral"]}
    assert compose(keys).attention.backend.value == "sdpa"
    assert compose(keys | {"attn_backend": "eager"}).attention.backend.value == "eager"
    with pytest.raises(BackendError, match="varlen runs on CUDA, not on cpu; these work here: sdpa"):
        compose(keys | {"attn_backend": "varlen"})


@pytest.mark.parametrize(
    ("name", "keys", "key"),
    [
        ("qwen2_vl_vision", {"feature_select_strategy": "class"}, "feature_select_strategy"),
        ("qwen2_vl_vision", {"post_norm": "last"}, "post_norm"),
        ("qwen2_vl_vision", {"deepstack": "separate"}, "deepstack"),
        ("qwen3_vl_vision", {"deepstack": "separate", "select_layers": [1]}, "deepstack"),
        ("qwen3_vl_vision", {"head": True}, "head"),
        ("pixtral", {"rope_type": "rope_3d"}, "rope_type"),
    ],
)
def test_configs_that_cannot_work(name: str, keys: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        plan({"schema": 1, "encoder": tiny.PACKED[name], **keys})


def test_a_level_beyond_the_depth_cannot_be_asked_for() -> None:
    encoder = tiny.PACKED["qwen3_vl_vision"] | {"deepstack_visual_indexes": [0, 4]}
    with pytest.raises(ConfigError, match="block 4 does not exist"):
        plan({"schema": 1, "encoder": encoder})
