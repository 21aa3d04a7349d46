"""LLaVA-NeXT: as many tiles as transformers' image processor cuts, in the grid that fits."""

from __future__ import annotations

import pytest
from support.tilings import assert_cut_as_planned, tiling


def test_as_many_tiles_are_planned_as_the_processor_cuts() -> None:
    assert_cut_as_planned("llava_next")


# Worked out by hand: of the sizes that keep most of the image, the one of least waste.
@pytest.mark.parametrize(
    ("size", "grid"), [((100, 20), (3, 3)), ((20, 100), (3, 1)), ((30, 30), (2, 2)), ((16, 16), (1, 2))]
)
def test_the_grid_of_an_image(size: tuple[int, int], grid: tuple[int, int]) -> None:
    plan = tiling("llava_next").plan(*size)
    assert (plan.rows, plan.columns) == grid
