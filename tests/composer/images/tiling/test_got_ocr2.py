"""InternVL and GOT-OCR 2: as many tiles as transformers' image processor cuts, in the grid that fits."""

from __future__ import annotations

import pytest
from support.tilings import assert_cut_as_planned, tiling


def test_as_many_tiles_are_planned_as_the_processor_cuts() -> None:
    assert_cut_as_planned("got_ocr2")


# Worked out by hand from the rule of the processor: the aspect ratio nearest to the image's.
@pytest.mark.parametrize(
    ("size", "grid"), [((100, 20), (1, 5)), ((20, 100), (5, 1)), ((30, 30), (2, 2)), ((90, 60), (2, 3))]
)
def test_the_grid_of_an_image(size: tuple[int, int], grid: tuple[int, int]) -> None:
    plan = tiling("got_ocr2").plan(*size)
    assert (plan.rows, plan.columns) == grid
