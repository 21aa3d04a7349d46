"""Cohere 2 Vision: the canvas, and the tiles that make it."""

from __future__ import annotations

import pytest
from support.tilings import assert_tiles_make_the_image, tiling


# Worked out by hand from the rule of the processor.
@pytest.mark.parametrize(
    ("size", "grid"), [((16, 16), (0, 0)), ((17, 16), (1, 2)), ((40, 20), (2, 3)), ((500, 20), (1, 12))]
)
def test_the_canvas_that_enlarges_least(size: tuple[int, int], grid: tuple[int, int]) -> None:
    plan = tiling("cohere2_vision").plan(*size)
    assert (plan.rows, plan.columns) == grid
    assert plan.num_tiles == max(grid[0] * grid[1], 1) + (grid[0] * grid[1] > 1)


def test_tiles_put_together_are_the_image() -> None:
    assert_tiles_make_the_image("cohere2_vision", "Cohere2VisionImageProcessor")
