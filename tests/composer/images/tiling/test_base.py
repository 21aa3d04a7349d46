"""The laws of every tiling: what the tiles of a plan cover."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tilings import CASES, tiling

from vision_composer.images.tiling import TILINGS
from vision_composer.images.tiling.base import TilePlan


def test_every_tiling_is_tried() -> None:
    own = {name for name, tiling in TILINGS.items() if not tiling.processor}
    assert set(CASES) | own == set(TILINGS)
    assert own == {"cohere2_vision", "lfm2_vl", "llama4", "molmo2", "perception_lm", "phi4_multimodal"}


def test_boxes_stand_row_after_row() -> None:
    plan = TilePlan(100, 60, rows=2, columns=3, canvas=(48, 32))
    assert plan.num_tiles == 7
    assert plan.boxes == (
        *((0, 0, 16, 16), (16, 0, 32, 16), (32, 0, 48, 16)),
        *((0, 16, 16, 32), (16, 16, 32, 32), (32, 16, 48, 32)),
    )
    assert TilePlan(7, 5, rows=2, columns=2, canvas=(7, 5)).boxes == (
        *((0, 0, 3, 2), (3, 0, 7, 2), (0, 2, 3, 5), (3, 2, 7, 5)),
    )
    assert TilePlan(100, 60).num_tiles == 1
    assert TilePlan(100, 60).boxes == ()


@pytest.mark.parametrize("name", sorted(CASES))
@settings(max_examples=40, deadline=None)
@given(width=st.integers(2, 3_000), height=st.integers(2, 3_000))
def test_the_boxes_cover_the_canvas(name: str, width: int, height: int) -> None:
    plan = tiling(name).plan(width, height)
    assert (plan.width, plan.height) == (width, height)
    assert len(plan.boxes) == plan.rows * plan.columns == plan.num_tiles - (plan.whole != "none")
    if plan.boxes:
        assert plan.boxes[0][:2] == (0, 0)
        assert plan.boxes[-1][2:] == plan.canvas
