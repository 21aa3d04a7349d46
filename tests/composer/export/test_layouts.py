"""Layouts as inputs of a graph: the tables, attention by them, and how images' tensors are joined."""

from __future__ import annotations

import pytest
import torch

from vision_composer.attention.packed_op import attend_in_groups
from vision_composer.attention.segments import Segments
from vision_composer.encoders.layout import RopeLayout, frame_segments
from vision_composer.encoders.layout import window_order as sorted_windows
from vision_composer.errors import ExportError
from vision_composer.export.layouts import HostGrids, _how_joined, attend, tensors_of, with_tensors
from vision_composer.export.runtime import segment_tables, window_order


@pytest.mark.parametrize("lengths", [[3], [1, 1], [5, 2, 5, 7], [300, 4]])
def test_attention_by_tables_is_that_in_groups(lengths: list[int]) -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, sum(lengths), 2, 8).unbind()
    wanted = attend_in_groups(query, key, value, Segments(lengths), scale=0.3)
    table, place = segment_tables(lengths)
    found = attend(query, key, value, table, place, place, 0.3, 0.0, None, False)
    assert torch.allclose(found, wanted, rtol=0, atol=2e-6)


def test_a_layout_is_taken_apart_and_put_together() -> None:
    grids = ((1, 2, 3), (1, 2, 2))
    rope = (torch.randn(10, 4), torch.randn(10, 4))
    layout = RopeLayout(grids, frames=frame_segments(grids, "cpu"), rope=rope)
    tensors = tensors_of(layout)
    assert list(tensors) == ["frames.table", "frames.place", "rope.0", "rope.1", "whole"]
    made = with_tensors(layout, {name: tensor + 1 for name, tensor in tensors.items()})
    assert torch.equal(made.rope[1], rope[1] + 1)
    assert torch.equal(made.frames.groups, tensors["frames.table"] + 1)
    assert layout.rope is rope
    with pytest.raises(ExportError, match="reads the sizes of the images"):
        list(made.grids)
    with pytest.raises(ExportError, match="reads the sizes of the images"):
        len(made.grids)
    with pytest.raises((ExportError, TypeError, RuntimeError)):
        torch.tensor(HostGrids())


def test_how_tensors_of_images_are_joined() -> None:
    one, other = torch.arange(6), torch.arange(4)
    assert _how_joined("a", one, other, torch.cat([one, other]), 6) == (0, False)
    assert _how_joined("a", one, other, torch.cat([one, other + 6]), 6) == (0, True)
    rows = torch.cat([one[None], other[None]], dim=1)
    assert _how_joined("a", one[None], other[None], rows, 6) == (1, False)
    with pytest.raises(ExportError, match="its layout: places is not made image by image"):
        _how_joined("places", one, other, torch.cat([other, one]), 6)


def test_windows_are_those_of_the_layout() -> None:
    frames = [(4, 6), (10, 2), (6, 6)]

    def windows(index: torch.Tensor, lengths: list[int]) -> set[tuple[int, ...]]:
        pieces = torch.split(index, [length // 4 for length in lengths])
        return {tuple(piece.tolist()) for piece in pieces}

    grids = [(1, *frame) for frame in frames]
    assert windows(*window_order(frames, 2, 2)) == windows(*sorted_windows(grids, 2, 2))
