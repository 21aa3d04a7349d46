"""The size that an image processor's values foretell, beside that of the pixels it makes."""

from __future__ import annotations

from typing import Any

import pytest
from support.processors import settings
from support.whole_images import SIZES, SMALL, noise, ours

from vision_composer import plan
from vision_composer.errors import ImageError, InputError
from vision_composer.images.rules import rule_of
from vision_composer.schemas import PROCESSOR_CLASSES


@pytest.mark.parametrize("name", [name for name in SMALL if PROCESSOR_CLASSES[name].inputs == "pixels"])
def test_sizes_are_foretold(name: str) -> None:
    made = settings(name, **SMALL[name])
    rule = rule_of(made.type, made.values)
    for size in SIZES:
        try:
            foretold = rule(*size)
        except InputError:
            with pytest.raises(ImageError):
                ours(made, noise(*size))
        else:
            assert ours(made, noise(*size)).shape[:0:-1] == foretold, size


def test_images_without_a_resize_keep_their_size() -> None:
    made = settings("CLIPImageProcessor", do_resize=False, do_center_crop=False)
    for size in SIZES:
        assert rule_of(made.type, made.values)(*size) == size
        assert ours(made, noise(*size)).shape[:0:-1] == size


def test_an_image_of_320_by_240_pixels_is_320_patches_in_lfm2_vl() -> None:
    made = settings("Lfm2VlImageProcessor")
    assert rule_of(made.type, made.values)(320, 240) == (20 * 16, 16 * 16)


def test_models_that_round_sides_as_they_merge() -> None:
    assert plan("mistral-small-3.1-24b").num_tokens(640, 480) == 46 * 36
    assert plan("lighton-ocr-1b").num_tokens(640, 480) == 46 * 36
    assert plan("lfm2-vl-3b").num_tokens(320, 240) == 20 * 16
    assert plan("internvl3-1b").num_tokens(640, 480) == 32 * 32


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("DeepseekVL", {"size": {"height": 40, "width": 41}}, "size is 40x41; .* takes squares only"),
        (
            "Qwen2VL",
            {"min_pixels": 5000, "max_pixels": 4000},
            "the least area, 5000, is above the greatest",
        ),
        ("Kimi_K25", {"size": {"max_height": 9, "max_width": 8}}, "max_height and size.max_width differ"),
        ("Gemma4", {"max_soft_tokens": 99}, r"max_soft_tokens is 99; it must be one of \(70, 140,"),
        ("Aria", {"max_image_size": 500}, "max_image_size is 500; AriaImageProcessor takes 490 and 980"),
    ],
)
def test_values_that_no_processor_works_with(name: str, values: dict[str, Any], reason: str) -> None:
    made = settings(f"{name}ImageProcessor", **values)
    with pytest.raises(ValueError, match=reason):
        rule_of(made.type, made.values)
