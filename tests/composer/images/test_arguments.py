"""Arguments of image processors: what keys of a config and values of a checkpoint become."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.processors import resolved, written

from vision_composer.errors import ConfigError, WeightsError


@pytest.mark.parametrize(
    ("block", "values"),
    [
        ({"size": {"height": 20, "width": 30}}, {"size": {"height": 20, "width": 30}}),
        ({"mean": [0.1], "std": [0.5]}, {"image_mean": [0.1], "image_std": [0.5]}),
        ({"crop": False}, {"do_center_crop": False}),
        ({"crop": True}, {"do_center_crop": True}),
        ({"crop": 20}, {"do_center_crop": True, "crop_size": {"height": 20, "width": 20}}),
        ({"crop": {"height": 9, "width": 8}}, {"crop_size": {"height": 9, "width": 8}}),
        ({"type": "LlavaImageProcessor", "pad": True}, {"do_pad": True}),
    ],
)
def test_keys_become_arguments(block: dict[str, Any], values: dict[str, Any]) -> None:
    made = resolved("CLIPImageProcessor", None, block)
    assert {key: made.values[key] for key in values} == values
    assert {made.origin[key] for key in values} == {"config"}


def test_one_number_keeps_the_form_that_the_checkpoint_gives_its_size_in(tmp_path: Path) -> None:
    written(tmp_path, {"size": {"height": 30, "width": 30}, "crop_size": 20})
    made = resolved("CLIPImageProcessor", tmp_path, {"size": 48})
    assert made.values["size"] == {"height": 48, "width": 48}


@pytest.mark.parametrize(
    ("own", "block", "values"),
    [
        ("Qwen2VL", {"max_pixels": 5000}, {"size": {"shortest_edge": 3136, "longest_edge": 5000}}),
        ("Kimi_K25", {"max_pixels": 14 * 14 * 9 + 1}, {"max_patches": 9}),
        ("Siglip2", {"max_pixels": 16 * 16 * 100}, {"max_num_patches": 100}),
        ("Lfm2Vl", {"min_pixels": 1024, "max_pixels": 9216}, {"min_image_tokens": 1, "max_image_tokens": 9}),
        ("Gemma4", {"max_pixels": 48 * 48 * 300}, {"max_soft_tokens": 280}),
        ("Pixtral", {"patch_size": 28}, {"patch_size": {"height": 28, "width": 28}}),
        ("Idefics3", {"size": 50}, {"size": {"longest_edge": 200}, "max_image_size": {"longest_edge": 50}}),
    ],
)
def test_areas_and_sizes_in_the_units_of_a_class(
    own: str, block: dict[str, Any], values: dict[str, Any]
) -> None:
    made = resolved(f"{own}ImageProcessor", None, block)
    assert {key: made.values[key] for key in values} == values


@pytest.mark.parametrize(
    "saved",
    [
        {"min_pixels": 100, "max_pixels": 900},
        {"size": {"shortest_edge": 100, "longest_edge": 900}},
        {"size": {"min_pixels": 100, "max_pixels": 900}, "min_pixels": 100, "max_pixels": 900},
        {"size": None, "min_pixels": 100, "max_pixels": 900},
    ],
)
def test_qwens_bounds_in_every_spelling(saved: dict[str, Any], tmp_path: Path) -> None:
    made = resolved("Qwen2VLImageProcessor", written(tmp_path, saved))
    assert made.values["size"] == {"shortest_edge": 100, "longest_edge": 900}


def test_minimaxs_size_that_was_never_used(tmp_path: Path) -> None:
    made = resolved("MiniMaxM3VLImageProcessor", written(tmp_path, {"size": [672, 672]}))
    assert made.values["size"] == {"shortest_edge": 4 * 28 * 28, "longest_edge": 451584}


def test_a_size_that_is_none(tmp_path: Path) -> None:
    for values in (
        {"size": {"longest_edge": 9}},
        {"size": {"height": True, "width": 2}},
        {"size": {"height": 0, "width": 2}},
        {"size": {"edge": 9}},
        {"size": [9]},
        {"crop_size": {}},
    ):
        with pytest.raises(WeightsError, match=r"preprocessor_config\.json: not a usable"):
            resolved("CLIPImageProcessor", written(tmp_path, values))


def test_a_number_that_means_nothing_to_the_class() -> None:
    with pytest.raises(ConfigError, match=r"image_processor\.size: one number means nothing"):
        resolved("Qwen2VLImageProcessor", None, {"size": 40})
    with pytest.raises(ConfigError, match=r"image_processor\.max_pixels: must be at least 256"):
        resolved("Siglip2ImageProcessor", None, {"max_pixels": 255})
    with pytest.raises(ConfigError, match=r"image_processor\.max_pixels: must be at least 161280"):
        resolved("Gemma4ImageProcessor", None, {"max_pixels": 161279})
