"""Ovis 2: as many tiles as transformers' image processor cuts."""

from __future__ import annotations

from support.tilings import assert_cut_as_planned


def test_as_many_tiles_are_planned_as_the_processor_cuts() -> None:
    assert_cut_as_planned("ovis2")
