"""Granite Docling: as many tiles as transformers' image processor cuts, the page whole behind them."""

from __future__ import annotations

from support.tilings import assert_cut_as_planned, tiling


def test_as_many_tiles_are_planned_as_the_processor_cuts() -> None:
    assert_cut_as_planned("granite_docling")


def test_a_dense_page_has_more_tiles() -> None:
    # Of a wide page, whose tiles would shrink it: up to 19 tiles in place of 5.
    assert tiling("granite_docling").plan(200, 50).num_tiles > 6
    assert tiling("granite_docling").plan(50, 200).num_tiles <= 6
