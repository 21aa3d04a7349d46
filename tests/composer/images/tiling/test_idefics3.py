"""Idefics3 and SmolVLM: as many tiles as transformers' image processor cuts, in the grid that fits."""

from __future__ import annotations

import pytest
from support.tilings import assert_cut_as_planned, tiling


def test_as_many_tiles_are_planned_as_the_processor_cuts() -> None:
    assert_cut_as_planned("idefics3")


# Worked out by hand from the rule of the processor: the image enlarged to 64 pixels, in tiles of 16.
@pytest.mark.parametrize(
    ("size", "grid"), [((100, 20), (1, 4)), ((20, 100), (4, 1)), ((16, 16), (4, 4)), ((90, 60), (3, 4))]
)
def test_the_grid_of_an_image(size: tuple[int, int], grid: tuple[int, int]) -> None:
    plan = tiling("idefics3").plan(*size)
    assert (plan.rows, plan.columns) == grid
