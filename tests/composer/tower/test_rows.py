"""Reduced tokens of images and clips through encoders: as many as planned, and the right ones."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support import tiny
from support.tiny import config

from vision_composer import ComposedVisionEncoder, Plan, VisionEncoderBuilder, compose, export_encoder, plan
from vision_composer.errors import ExportError, InputError
from vision_composer.jobs.job import checked_output

CLIP = config("clip_vision_model", feature_select_strategy="default")
QWEN = config("qwen2_5_vl_vision", output="embeds")
STEPS = {
    "type": "steps",
    "hidden_size": 24,
    "steps": [{"type": "space_to_depth"}, {"type": "linear", "width": 24}],
}
LLAVA_NEXT: dict[str, Any] = {
    "output": "embeds",
    "image_processor": {"type": "LlavaNextImageProcessor"},
    "connector": {"type": "llava_next", "hidden_size": 24},
    "tiling": {"type": "llava_next", "image_grid_pinpoints": [[32, 64], [64, 32]]},
}
CASES: dict[str, dict[str, Any]] = {
    "dense": CLIP,
    "dense with its class token": config("clip_vision_model"),
    "packed": QWEN,
    "hidden states by squares": config("qwen2_5_vl_vision", select_layers=[-1, 1]),
    "a connector that joins squares": {**CLIP, "output": "embeds", "connector": STEPS},
    "tiles with newline rows": {**CLIP, **LLAVA_NEXT},
    "tiles one after the other": {**CLIP, **LLAVA_NEXT, "connector": {"type": "llava", "hidden_size": 24}},
    "frames that are pooled": config("kimi_k25_vision"),
}
PLANAR = {"dense", "packed", "a connector that joins squares", "frames that are pooled"}
KINDS = ("evs", "pool", "vidcom2")


@cache
def encoder_of(case: str, kind: str | None, keep: float = 0.3) -> ComposedVisionEncoder:
    torch.manual_seed(0)
    reduce = {} if kind is None else {"reduce": {"type": kind, "keep": keep}}
    made = compose({**CASES[case], **reduce})
    assert isinstance(made, ComposedVisionEncoder)
    return made


def image(width: int, height: int, seed: int = 0) -> Image.Image:
    random = np.random.default_rng(seed)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


def clip(width: int, height: int, frames: int) -> list[Image.Image]:
    return [image(width, height, seed) for seed in range(frames)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("case", CASES)
@settings(max_examples=8, deadline=None)
@given(
    sizes=st.lists(
        st.tuples(st.integers(16, 90), st.integers(16, 90), st.integers(1, 4)), min_size=1, max_size=3
    )
)
def test_what_is_planned_is_what_comes(case: str, kind: str, sizes: list[tuple[int, int, int]]) -> None:
    if kind == "pool" and case not in PLANAR:
        return
    encoder = encoder_of(case, kind)
    if not encoder.preprocessor.takes_clips:
        sizes = [(width, height, 1) for width, height, _ in sizes]
    given_images: list[Any] = [
        image(width, height) if frames == 1 else clip(width, height, frames)
        for width, height, frames in sizes
    ]
    encoded = encoder.encode(given_images)
    assert [tuple(each.shape) for each in encoded] == [
        (encoder.num_tokens(*size), encoder.output_width) for size in sizes
    ]
    batch = encoder.vision.read(encoder.preprocess(given_images))
    vision: Any = encoder.vision
    assert vision.rows_of_batch(batch) == [len(each) for each in encoded]


@pytest.mark.parametrize("kind", ["evs", "vidcom2"])
def test_what_stays_is_what_came_out_unreduced(kind: str) -> None:
    plain, reduced = encoder_of("packed", None), encoder_of("packed", kind)
    inputs = plain.preprocess([image(60, 40), clip(48, 64, 8)])
    everything, kept = plain(**inputs), reduced.encode_reduced(**inputs)
    for rows, (few, indices), same in zip(everything, kept, reduced(**inputs), strict=True):
        assert torch.equal(few, rows[indices])
        assert torch.equal(few, same)
    assert len(kept[1][0]) == int(0.3 * len(everything[1]))


def test_neighbours_in_the_image_are_pooled() -> None:
    plain, reduced = encoder_of("packed", None), encoder_of("packed", "pool", keep=0.25)
    inputs = plain.preprocess([clip(64, 96, 4)])
    (rows,), ((few, indices),) = plain(**inputs), reduced.encode_reduced(**inputs)
    _, height, width = (side // 2 for side in plain.image_grids(inputs)[0])
    frames = rows.view(-1, height, width, rows.shape[-1])
    assert height % 2 == width % 2 == 0
    squares = frames.unflatten(1, (-1, 2)).unflatten(3, (-1, 2)).mean(dim=(2, 4))
    assert torch.allclose(few, squares.flatten(0, 2), rtol=0, atol=1e-6 * rows.abs().max().item())
    corners = torch.arange(len(rows)).view(frames.shape[:3])[:, ::2, ::2]
    assert torch.equal(indices, corners.flatten())


def test_every_encoder_tells_the_grid_of_its_tokens() -> None:
    wrong = {}
    for name, encoder in tiny.ALL.items():
        for strategy in ("default", "full"):
            made = plan({"schema": 1, "encoder": encoder, "feature_select_strategy": strategy})
            assert isinstance(made, Plan)
            readout, side = made.readout, made.info.grid_multiple * 4
            grids = [(1, side, side), (2, side, 2 * side)] if made.info.packed else [made.info.grid(64, 64)]
            for grid in grids:
                if np.prod(readout.token_grid(grid)) != readout.num_tokens(grid):
                    wrong[name, strategy, grid] = readout.token_grid(grid), readout.num_tokens(grid)
    assert wrong == {}


def test_tiles_are_no_frames() -> None:
    mllama = {"schema": 1, "encoder": tiny.TILED["mllama_vision_model"], "feature_select_strategy": "default"}
    for keys in (CASES["tiles one after the other"], {**mllama, "select_layers": [-1]}):
        whole, reduced = plan(keys), plan({**keys, "reduce": {"type": "evs", "keep": 0.1}})
        assert isinstance(whole, Plan)
        assert whole.image_of_tiles(128, 32).grid_of_all[0] > 1
        assert reduced.num_tokens(128, 32) == whole.num_tokens(128, 32)


def test_frames_of_hidden_states_are_compared() -> None:
    whole, reduced = (encoder_of("hidden states by squares", kind) for kind in (None, "evs"))
    assert reduced.num_tokens(48, 64, 8) == int(0.3 * whole.num_tokens(48, 64, 8))


def test_it_is_saved_and_composed_again(tmp_path: Path) -> None:
    encoder = encoder_of("packed", "evs")
    encoder.save(tmp_path)
    again = compose(tmp_path)
    assert again.config.to_dict()["reduce"] == {"type": "evs", "keep": 0.3}
    images: list[Any] = [clip(48, 64, 6)]
    assert torch.equal(again.encode(images)[0], encoder.encode(images)[0])
    whole = compose(tmp_path, overrides=["~reduce"])
    assert len(whole.encode(images)[0]) > len(encoder.encode(images)[0])


def test_the_builder_makes_it() -> None:
    built = VisionEncoderBuilder(QWEN).reduce("vidcom2", keep=0.5).build()
    assert built.num_tokens(48, 64, 6) == encoder_of("packed", None).num_tokens(48, 64, 6) // 2


def test_a_batch_without_images() -> None:
    encoder = encoder_of("dense", "pool")
    assert encoder(pixel_values=torch.empty(0, 3, 32, 32)) == ()
    assert encoder.encode_reduced(pixel_values=torch.empty(0, 3, 32, 32)) == []


def test_the_plan_tells_it() -> None:
    made = plan({**CLIP, "reduce": {"type": "pool", "keep": 0.25}})
    assert made.to_dict()["reduce"] == {"type": "pool", "keep": 0.25}
    assert made.layout == "(tokens, width) per image"
    assert made.ragged
    assert made.num_tokens(64, 64) == 4
    plain = plan(CLIP)
    assert plain.to_dict()["reduce"] is None
    assert plain.layout == "(images, tokens, width)"


def test_what_knows_nothing_of_it_refuses_it(tmp_path: Path) -> None:
    encoder = encoder_of("packed", "evs")
    with pytest.raises(InputError, match="leave reduce out"):
        encoder.as_transformers()
    with pytest.raises(ExportError, match="export it without reduce"):
        export_encoder(encoder, tmp_path / "tower.pt2")
    with pytest.raises(InputError, match="by its grid: leave reduce out"):
        checked_output(encoder, "vllm-embeds", None, "none")
    with pytest.raises(InputError, match="returns all tokens: set reduce"):
        encoder_of("packed", None).encode_reduced()
