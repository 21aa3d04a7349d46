"""Gemma 3's pan and scan: as many tiles as transformers' image processor cuts, in the grid that fits."""

from __future__ import annotations

import pytest
from support.tilings import assert_cut_as_planned, tiling


def test_as_many_tiles_are_planned_as_the_processor_cuts() -> None:
    assert_cut_as_planned("gemma3")


# Worked out by hand from the rule of the processor: crops along the longer side, if one side is long enough.
@pytest.mark.parametrize(
    ("size", "grid"), [((100, 20), (1, 3)), ((20, 100), (3, 1)), ((30, 30), (0, 0)), ((90, 60), (1, 2))]
)
def test_the_grid_of_an_image(size: tuple[int, int], grid: tuple[int, int]) -> None:
    plan = tiling("gemma3").plan(*size)
    assert (plan.rows, plan.columns) == grid
