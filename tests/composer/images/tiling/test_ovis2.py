"""Ovis 2: as many tiles as transformers' image processor cuts, behind the image whole."""

from __future__ import annotations

from support.tilings import assert_cut_as_planned, tiling


def test_as_many_tiles_are_planned_as_the_processor_cuts() -> None:
    assert_cut_as_planned("ovis2")


def test_one_tile_at_most_is_the_image_whole() -> None:
    assert tiling("ovis2", max_patches=1).plan(100, 20).num_tiles == 1
