"""mrope_position_ids against get_rope_index of transformers' own models."""

from __future__ import annotations

import importlib.metadata
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version
from support.stand_in import StandIn

from vision_composer import mrope_position_ids
from vision_composer.errors import InputError

WHOLE_SECONDS = Version(importlib.metadata.version("transformers")) < Version("5.24")
"""Older versions cut seconds to whole ones before they scale them."""


class Family(NamedTuple):
    """How a model places its clips."""

    frames_apart: bool
    tokens_per_second: int | None = None


FAMILIES = {
    "qwen2_vl": Family(False),
    "qwen2_5_vl": Family(False, tokens_per_second=3),
    "qwen3_vl": Family(True),
    "qwen3_5": Family(True),
    "glm4v": Family(True),
}


@cache
def model(name: str, merge: int) -> Any:
    """A tiny model of the family; only its config is asked."""
    import transformers

    text = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "vocab_size": 32,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]},
    }
    vision = {
        "depth": 1,
        "num_heads": 2,
        "hidden_size": 16,
        "intermediate_size": 16,
        "out_hidden_size": 16,
        "spatial_merge_size": merge,
    }
    vision |= {"embed_dim": 16} if name == "qwen2_vl" else {}
    vision |= {"tokens_per_second": FAMILIES[name].tokens_per_second} if name == "qwen2_5_vl" else {}
    vision |= {"deepstack_visual_indexes": [0]} if name == "qwen3_vl" else {}
    prefix = {
        "qwen2_vl": "Qwen2VL",
        "qwen2_5_vl": "Qwen2_5_VL",
        "qwen3_vl": "Qwen3VL",
        "qwen3_5": "Qwen3_5",
        "glm4v": "Glm4v",
    }[name]
    config = getattr(transformers, f"{prefix}Config")(text_config=text, vision_config=vision)
    with torch.device("meta"):
        return getattr(transformers, f"{prefix}Model")(config)


class Batch(NamedTuple):
    """Padded prompts and what stands in them."""

    types: torch.Tensor
    mask: torch.Tensor | None
    images: torch.Tensor | None
    videos: torch.Tensor | None
    seconds: torch.Tensor | list[float] | None
    merge: int


@st.composite
def batches(draw: st.DrawFn, frames_apart: bool) -> Batch:
    """Prompts of text, images and clips in any order; spans with text in between, as every template has."""
    merge = draw(st.integers(1, 3))
    side = st.integers(1, 5).map(lambda n: n * merge)
    images: list[list[int]] = []
    videos: list[list[int]] = []
    prompts = []
    for _ in range(draw(st.integers(1, 3))):
        types: list[int] = []
        for kind in draw(st.lists(st.sampled_from([1, 2]), max_size=4)):
            types += [0] * draw(st.integers(1 if types else 0, 4))
            grid = [1 if kind == 1 else draw(st.integers(1, 4)), draw(side), draw(side)]
            (images if kind == 1 else videos).append(grid)
            frame = [kind] * (grid[1] * grid[2] // merge**2)
            for i in range(grid[0]):
                types += ([0] * draw(st.integers(1, 3)) if frames_apart and i else []) + frame
        prompts.append(types + [0] * draw(st.integers(0 if types else 1, 4)))
    longest = max(map(len, prompts)) + draw(st.integers(0, 2))
    rows, mask = [], []
    for types in prompts:
        padding = longest - len(types)
        left = draw(st.sampled_from([0, padding]))
        # The type of padding must not matter.
        filler = draw(st.integers(0, 2))
        rows.append([filler] * left + types + [filler] * (padding - left))
        mask.append([0] * left + [1] * len(types) + [0] * (padding - left))
    second = st.integers(1, 4) if WHOLE_SECONDS else st.floats(0.05, 4)
    seconds: Any = draw(st.lists(second.map(float), min_size=len(videos), max_size=len(videos)))
    if seconds and draw(st.booleans()):
        seconds = torch.tensor(seconds, dtype=draw(st.sampled_from([torch.float32, torch.float64])))
    padded = any(0 in row for row in mask)
    return Batch(
        torch.tensor(rows),
        torch.tensor(mask) if padded or draw(st.booleans()) else None,
        torch.tensor(images) if images else None,
        torch.tensor(videos) if videos else None,
        seconds if draw(st.booleans()) else None,
        merge,
    )


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_equals_get_rope_index(name: str, data: st.DataObject) -> None:
    family = FAMILIES[name]
    batch = data.draw(batches(family.frames_apart))
    seconds = {} if family.tokens_per_second is None else {"second_per_grid_ts": batch.seconds}
    theirs = model(name, batch.merge).get_rope_index(
        torch.ones_like(batch.types),
        mm_token_type_ids=batch.types,
        image_grid_thw=batch.images,
        video_grid_thw=None if batch.videos is None else batch.videos.clone(),
        attention_mask=batch.mask,
        **seconds,
    )
    ours = mrope_position_ids(
        batch.types,
        spatial_merge_size=batch.merge,
        image_grid_thw=batch.images,
        video_grid_thw=batch.videos,
        attention_mask=batch.mask,
        **family._asdict(),
        **seconds,
    )
    for got, want in zip(ours, theirs, strict=True):
        assert got.dtype == want.dtype == torch.int64
        assert torch.equal(got, want)


def test_the_deltas_continue_the_prompt() -> None:
    """What is generated next stands where one more text token of the prompt would."""
    types = torch.tensor([[0, 1, 1, 1, 1, 1, 1, 0]])
    longer = torch.tensor([[*types[0].tolist(), 0]])
    arguments: dict[str, Any] = {"spatial_merge_size": 2, "image_grid_thw": torch.tensor([[1, 4, 6]])}
    _, deltas = mrope_position_ids(types, **arguments)
    positions, _ = mrope_position_ids(longer, **arguments)
    assert (positions[:, 0, -1] == types.shape[1] + deltas[0]).all()


def test_spans_side_by_side() -> None:
    """Two images without text between them: transformers takes them for one and fails."""
    apart, _ = mrope_position_ids(
        torch.tensor([[1, 1, 0, 1]]),
        spatial_merge_size=1,
        image_grid_thw=torch.tensor([[1, 1, 2], [1, 1, 1]]),
    )
    beside, _ = mrope_position_ids(
        torch.tensor([[1, 1, 1]]), spatial_merge_size=1, image_grid_thw=torch.tensor([[1, 1, 2], [1, 1, 1]])
    )
    assert beside[:, 0].tolist() == [[0, 0, 2], [0, 0, 2], [0, 1, 2]]
    assert torch.equal(apart[:, 0, :2], beside[:, 0, :2])


def test_a_prompt_of_padding_alone() -> None:
    types = torch.zeros(2, 3, dtype=torch.int64)
    mask = torch.tensor([[0, 0, 0], [0, 1, 1]])
    positions, deltas = mrope_position_ids(types, spatial_merge_size=2, attention_mask=mask)
    assert positions[0].tolist() == [[0, 0, 0], [0, 0, 1]]
    assert deltas.tolist() == [[0], [0]]


TYPES = torch.tensor([[0, 1, 1, 0, 2, 2]])
ONE = torch.tensor([[1, 1, 2]])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image_grid_thw": None}, "prompt 0, tokens 1 to 2 .*: 2 of them have no grid; give one grid"),
        ({"video_grid_thw": ONE[:, [0, 1, 1]]}, "prompt 0, tokens 4 to 5 .*: 1 of them have no grid"),
        ({"image_grid_thw": torch.tensor([[1, 2, 2]])}, r"2 of them are left for the grid \(1, 2, 2\), .* 4"),
        ({"image_grid_thw": torch.cat([ONE, ONE])}, "1 rows of image_grid_thw are left over"),
        ({"video_grid_thw": torch.tensor([[2, 1, 2]]), "frames_apart": True}, "1 frames of video_grid_thw"),
        ({"image_grid_thw": torch.tensor([[0, 1, 2]])}, r"image_grid_thw\[0\] is \(0, 1, 2\); all three"),
        ({"image_grid_thw": torch.tensor([1, 1, 2])}, r"image_grid_thw must be \(images, 3\)"),
        ({"spatial_merge_size": 2}, "must be multiples of spatial_merge_size, 2"),
        ({"spatial_merge_size": 0}, "it must be at least 1"),
        ({"mm_token_type_ids": TYPES[0]}, r"must be \(batch, length\) integers, not \(6,\)"),
        ({"mm_token_type_ids": TYPES.float()}, "integers, not .* torch.float32"),
        ({"mm_token_type_ids": TYPES * 3}, "prompt 0 has a token of type 3; use 0 for text"),
        ({"attention_mask": torch.ones(1, 5)}, r"attention_mask must be \(1, 6\) .*, not \(1, 5\)"),
        ({"second_per_grid_ts": [1.0]}, "needs tokens_per_second"),
        ({"second_per_grid_ts": [1.0, 2.0], "tokens_per_second": 2}, "2 values for 1 videos"),
        ({"second_per_grid_ts": ["1"], "tokens_per_second": 2}, r"a number for each video, not \['1'\]"),
        ({"second_per_grid_ts": "1", "tokens_per_second": 2}, "a number for each video, not '1'"),
        ({"second_per_grid_ts": [None], "tokens_per_second": 2}, "a number for each video"),
        ({"second_per_grid_ts": torch.tensor(1.0), "tokens_per_second": 2}, r"\(videos,\), not \(\)"),
        ({"second_per_grid_ts": torch.ones(1, 1), "tokens_per_second": 2}, r"\(videos,\), not \(1, 1\)"),
        *(
            ({"second_per_grid_ts": kind([value]), "tokens_per_second": 2}, r"_ts\[0\] is .* seconds")
            for value in (-0.5, float("nan"), float("inf"))
            for kind in (list, torch.tensor)
        ),
        *(
            ({"tokens_per_second": value}, "tokens_per_second is .* above 0")
            for value in (0, -2, float("nan"), float("inf"))
        ),
        ({"tokens_per_second": 2, "frames_apart": True}, "exclude each other"),
    ],
)
def test_what_does_not_fit_is_refused(changed: dict[str, Any], message: str) -> None:
    arguments = {"spatial_merge_size": 1, "image_grid_thw": ONE, "video_grid_thw": ONE} | changed
    types = arguments.pop("mm_token_type_ids", TYPES)
    with pytest.raises(InputError, match=message):
        mrope_position_ids(types, **arguments)


@pytest.mark.parametrize("grid", [[1, 2, 3], [1, 3, 2]])
def test_rows_and_columns_are_merged_whole(grid: list[int]) -> None:
    with pytest.raises(InputError, match="must be multiples of spatial_merge_size, 2"):
        mrope_position_ids(
            torch.ones(1, 1, dtype=torch.int64), spatial_merge_size=2, image_grid_thw=torch.tensor([grid])
        )


@pytest.mark.skipif(WHOLE_SECONDS, reason="before 5.24 transformers cuts seconds to whole ones")
def test_temporal_ids_are_cut_in_the_dtype_of_the_seconds() -> None:
    """Three times almost a third of a second is 1 in float32, and less in float64."""
    arguments: dict[str, Any] = {
        "mm_token_type_ids": torch.full((1, 2), 2),
        "video_grid_thw": torch.tensor([[2, 1, 1]]),
        "second_per_grid_ts": torch.tensor([1 / 3 - 1e-9], dtype=torch.float64),
    }
    want, _ = model("qwen2_5_vl", 1).get_rope_index(torch.ones(1, 2, dtype=torch.int64), **arguments)
    got, _ = mrope_position_ids(**arguments, spatial_merge_size=1, tokens_per_second=3)
    assert torch.equal(got, want)
    assert got[0, 0].tolist() == [0, 0]


def test_all_arguments_may_be_on_the_device() -> None:
    types, grids = torch.tensor([[0, 2, 2, 0]]), torch.tensor([[2, 1, 1]])
    arguments: dict[str, Any] = {"spatial_merge_size": 1, "tokens_per_second": 2}
    seconds, mask = torch.tensor([1.5]), torch.ones(1, 4)
    want = mrope_position_ids(types, video_grid_thw=grids, second_per_grid_ts=seconds, **arguments)
    device = StandIn()
    device.put(there := [tensor.clone() for tensor in (types, grids, seconds, mask)])
    with device:
        got = mrope_position_ids(
            there[0],
            video_grid_thw=there[1],
            second_per_grid_ts=there[2],
            attention_mask=there[3],
            **arguments,
        )
    assert all(map(device.holds, got))
    assert all(map(torch.equal, got, want))
