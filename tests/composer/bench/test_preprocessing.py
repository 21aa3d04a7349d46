"""Preprocessing beside transformers'. Nothing here depends on how long anything takes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from support import tiny
from support.tiny import config

from vision_composer.bench.preprocessing import PreprocessResult, compare_preprocessing
from vision_composer.bench.report import preprocessing
from vision_composer.errors import BackendError, InputError
from vision_composer.images.levels import Levels

ALL = {**tiny.ENCODERS, **tiny.PACKED, **tiny.PADDED}


@pytest.mark.parametrize(
    "name",
    ["clip_vision_model", "siglip_vision_model", "qwen2_5_vl_vision", "pixtral", "siglip2_vision_model"],
)
def test_both_sides_make_the_same_pixels(name: str) -> None:
    threads = torch.get_num_threads()
    result = compare_preprocessing({"schema": 1, "encoder": ALL[name]}, images=[(90, 64), (50, 80)], rounds=3)
    assert torch.get_num_threads() == threads
    assert result.images == ((90, 64), (50, 80))
    assert len(result.ours) == len(result.theirs) == 3


def test_pillow_is_timed_where_it_resizes_once() -> None:
    once, twice = (
        compare_preprocessing({"schema": 1, "encoder": ALL[name]}, images=[(50, 80)], rounds=2)
        for name in ("clip_vision_model", "idefics3_vision")
    )
    assert (len(once.pillow), len(twice.pillow)) == (2, 0)


def test_the_speed_is_that_of_the_medians() -> None:
    result = PreprocessResult("", (), "", True, ours=(1.0, 2.0, 9.0), theirs=(7.0, 3.0, 5.0))
    assert result.speed == 2.5
    assert result.to_dict()["speed"] == 2.5


def test_other_pixels_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Levels, "__call__", lambda self, inputs: {"pixel_values": inputs["pixel_values"] * 1.0}
    )
    monkeypatch.setattr("vision_composer.images.pixels._agree", lambda *_: True)
    with pytest.raises(BackendError, match="CLIPImageProcessor: the pixels differ"):
        compare_preprocessing(config("clip_vision_model"), rounds=1)


def test_no_rounds() -> None:
    with pytest.raises(InputError, match="0 rounds"):
        compare_preprocessing(config("clip_vision_model"), images=[(9, 9)], rounds=0)


def test_the_report_says_where_numba_is_missing() -> None:
    result = PreprocessResult("Some", ((9, 8),), "a CPU", True, ours=(1.0,), theirs=(3.0,))
    assert preprocessing(result).endswith("x transformers    3.00")
    assert preprocessing(replace(result, numba=False)).endswith("pip install 'vision-composer[numba]'")
