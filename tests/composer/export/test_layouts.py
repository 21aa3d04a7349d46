"""Layouts as inputs of a graph: the tables, attention by them, and how images' tensors are joined."""

from __future__ import annotations

import pytest
import torch

from vision_composer.attention.packed_op import attend_in_groups
from vision_composer.attention.segments import Segments
from vision_composer.encoders.layout import RopeLayout, frame_segments
from vision_composer.errors import ExportError
from vision_composer.export.layouts import HostGrids, attend, tensors_of, with_tensors
from vision_composer.export.runtime import segment_tables


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
