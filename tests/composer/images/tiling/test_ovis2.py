"""Ovis 2: as many tiles as transformers' image processor cuts, behind the image whole."""

from __future__ import annotations

import numpy as np
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.tilings import CASES, assert_cut_as_planned, tiling


def test_as_many_tiles_are_planned_as_the_processor_cuts() -> None:
    assert_cut_as_planned("ovis2")


@settings(max_examples=40, deadline=None)
@given(width=st.integers(1, 200), height=st.integers(1, 200))
def test_the_rows_and_columns_are_the_processors(width: int, height: int) -> None:
    planned = tiling("ovis2")
    processor = transformers.Ovis2ImageProcessorPil(**CASES["ovis2"][1])
    image = Image.fromarray(np.zeros((height, width, 3), dtype=np.uint8))
    (grid,) = processor(image, return_tensors="np", **planned.options())["grids"]
    plan = planned.plan(width, height)
    assert (max(plan.rows, 1), max(plan.columns, 1)) == tuple(grid)


def test_one_tile_at_most_is_the_image_whole() -> None:
    assert tiling("ovis2", max_patches=1).plan(100, 20).num_tiles == 1
