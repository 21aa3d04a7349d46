"""Tiles lie where they were cut, and frames follow each other."""

from __future__ import annotations

from dataclasses import replace

from support.tiny_configs import ALL

from vision_composer.encoders import family_of
from vision_composer.images.tiling import TilePlan
from vision_composer.report.views import Piece, views_of
from vision_composer.schemas import encoder_config

CLIP = encoder_config(ALL["clip_vision_model"])
INFO = family_of(CLIP).info(CLIP)
GRID = (1, 4, 4)


def test_an_image_that_is_not_cut() -> None:
    (view,) = views_of(TilePlan(), [(1, 4, 6)], INFO, (48, 32))
    assert (view.label, view.width, view.height, view.pieces) == ("", 48, 32, (Piece(0),))
    assert not view.cut


def test_tiles_behind_the_image_as_a_whole() -> None:
    tiles = TilePlan(100, 50, rows=1, columns=2, canvas=(64, 32))
    whole, cut = views_of(tiles, [GRID] * 3, INFO, (32, 32))
    assert whole.pieces == (Piece(0),)
    assert cut.pieces == (Piece(1, 0.0, 0.0, 0.5, 1.0), Piece(2, 0.5, 0.0, 0.5, 1.0))
    assert cut.label == "2 tiles, 1 down and 2 across"


def test_tiles_in_front_of_the_image_as_a_whole_or_without_it() -> None:
    tiles = TilePlan(50, 100, rows=2, columns=1, canvas=(32, 64), whole="last")
    cut, whole = views_of(tiles, [GRID] * 3, INFO, (32, 32))
    assert [piece.plane for piece in cut.pieces] == [0, 1]
    assert whole.pieces == (Piece(2),)
    assert len(views_of(replace(tiles, whole="none"), [GRID] * 2, INFO, (32, 32))) == 1


def test_tiles_of_the_tower_itself() -> None:
    mllama = encoder_config(ALL["mllama_vision_model"])
    (view,) = views_of(TilePlan(), [(4, 2, 2)], family_of(mllama).info(mllama), (32, 32))
    assert [(piece.left, piece.top) for piece in view.pieces] == [(0, 0), (0.5, 0), (0, 0.5), (0.5, 0.5)]


def test_frames_that_share_a_patch() -> None:
    info = replace(INFO, temporal_patch_size=2)
    labels = [view.label for view in views_of(TilePlan(), [(2, 4, 4)], info, (32, 32), frames=3)]
    assert labels == ["Frames 1 to 2; the first is shown", "Frame 3"]
    assert [view.label for view in views_of(TilePlan(), [(2, 4, 4)], INFO, (32, 32), 2)] == [
        "Frame 1",
        "Frame 2",
    ]
