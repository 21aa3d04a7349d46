"""A layout inside a graph is the family's, made of inputs that the runtime makes of the grids."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.tiny import PACKED, PADDED

from vision_composer import compose
from vision_composer.attention.packed_op import attend_in_groups
from vision_composer.attention.segments import Segments
from vision_composer.encoder import ComposedVisionEncoder
from vision_composer.encoders.packed import PackedBatch
from vision_composer.errors import ExportError
from vision_composer.export.layouts import HostGrids, PackedInputs, attend
from vision_composer.export.runtime import segment_tables

SQUARES = ((1, 3, 4), (2, 5, 1), (1, 1, 1), (3, 2, 6))


def made(name: str, squares: tuple[tuple[int, int, int], ...] = SQUARES) -> tuple[PackedInputs, Any, Any]:
    """The inputs, the layout of them, and the tower's own."""
    encoder = compose({"schema": 1, "encoder": (PACKED | PADDED)[name], "select_layers": [0]})
    assert isinstance(encoder, ComposedVisionEncoder)
    tower, side = encoder.tower, encoder.info.grid_multiple
    grids = tuple((t, h * side, w * side) for t, h, w in squares)
    inputs = PackedInputs.of(tower)
    assert inputs is not None
    batch = PackedBatch(torch.empty(sum(t * h * w for t, h, w in grids), 1), grids)
    return inputs, inputs.layout(inputs.tensors(grids)), tower.layout(batch)


@pytest.mark.parametrize("lengths", [[3], [1, 1], [5, 2, 5, 7], [300, 4]])
def test_attention_by_tables_is_that_in_groups(lengths: list[int]) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, sum(lengths), 2, 8).unbind()
    wanted = attend_in_groups(query, key, value, Segments(lengths), scale=0.3)
    table, place = segment_tables(lengths)
    found = attend(query, key, value, table, place, place, 0.3, 0.0, None, False)
    assert torch.allclose(found, wanted, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("qwen2_vl_vision", {("positions", 2)}),
        ("qwen3_vl_vision", {("positions", 2), ("sizes", 0)}),
        ("hunyuan_vl_vision", {("positions", 1), ("sizes", 0)}),
        ("minimax_m3_vl_vision", {("positions", 2), ("frame", 0), ("numbers", 0)}),
        ("gemma4_vision", {("positions", 1), ("raster", 2)}),
    ],
)
def test_a_layout_of_inputs_is_the_familys(name: str, keys: set[tuple[str, int]]) -> None:
    inputs, found, wanted = made(name)
    of = "clips" if name == "minimax_m3_vl_vision" else "frames"
    assert set(inputs.keys) == keys | {(f"{of}.table", 0), (f"{of}.place", 0)}
    lengths = wanted.frames.cu_seqlens.diff().tolist()
    for mine, own in zip((found.frames.groups, found.frames.order), segment_tables(lengths), strict=True):
        assert torch.equal(mine, own)
    compared = 0
    for part, value in vars(wanted).items():
        for mine, own in zip(_tensors(getattr(found, part)), _tensors(value), strict=True):
            if own.is_floating_point():
                assert mine.dtype == own.dtype
                assert torch.allclose(mine, own, rtol=0, atol=2e-6), part
            else:
                assert torch.equal(mine.long(), own.long()), part
            compared += 1
    assert compared >= 3


def test_windows_hold_the_patches_of_the_familys() -> None:
    inputs, found, wanted = made("qwen2_5_vl_vision", ((1, 3, 10), (2, 9, 5)))
    assert inputs.window == 3

    def windows(index: torch.Tensor, lengths: list[int]) -> set[tuple[int, ...]]:
        return {tuple(piece.tolist()) for piece in torch.split(index, [length // 4 for length in lengths])}

    lengths = (found.windows.groups >= 0).sum(1).tolist()
    expected = windows(wanted.window_index, wanted.windows.cu_seqlens.diff().tolist())
    assert windows(found.window_index, lengths) == expected
    for mine, own in zip(found.rope, wanted.rope, strict=True):
        assert torch.allclose(found.in_input_order(mine), wanted.in_input_order(own), rtol=0, atol=2e-6)


def test_sizes_of_the_host_are_refused() -> None:
    _, found, _ = made("qwen2_vl_vision")
    for reading in (list, len, bool):
        with pytest.raises(ExportError, match="reads the sizes of the images"):
            reading(found.grids)
    with pytest.raises((ExportError, TypeError, RuntimeError)):
        torch.tensor(HostGrids())
    with pytest.raises(ExportError, match="takes more of the sizes of images than where patches are"):
        made("kimi_k25_vision")
    with pytest.raises(ExportError, match="attend neither to frames nor to whole images"):
        made("inkling2_vision")


def _tensors(value: object) -> list[torch.Tensor]:
    parts = value if isinstance(value, tuple) else (value,)
    return [part for part in parts if isinstance(part, torch.Tensor)]
