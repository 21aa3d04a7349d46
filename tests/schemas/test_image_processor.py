"""What a config may set of an image processor: numbers that can be, in the forms that transformers has."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from support.loading import faults

from vision_composer.schemas.image_processor import MAX_SIDE, BoxConfig, ImageProcessorConfig, SizeConfig


@pytest.mark.parametrize(
    "values",
    [
        {"size": 448},
        {"size": {"height": 3, "width": MAX_SIDE}},
        {"size": {"shortest_edge": 3, "longest_edge": MAX_SIDE**2}},
        {"size": {"longest_edge": 5}},
        {"size": SizeConfig(shortest_edge=3)},
        {"crop": False},
        {"crop": 3},
        {"crop": {"height": 3, "width": 4}},
        {"crop": BoxConfig(height=3, width=4)},
        {"mean": [0.5], "std": [1, 0.5, 2.0]},
        {"min_pixels": 7, "max_pixels": 7},
        {"type": "CLIPImageProcessor", "crop": 3, "resample": "lanczos"},
    ],
    ids=str,
)
def test_what_can_be_set(values: dict[str, Any]) -> None:
    assert faults(ImageProcessorConfig, values) == []


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"size": True}, [("VC103", ("size",))]),
        ({"size": "448"}, [("VC103", ("size",))]),
        ({"size": {"height": 3}}, [("VC104", ("size",))]),
        ({"size": {"height": 3, "width": 3, "longest_edge": 3}}, [("VC104", ("size",))]),
        ({"size": {"height": 3, "width": 0}}, [("greater_than_equal", ("size", "width"))]),
        ({"crop": "no"}, [("VC103", ("crop",))]),
        ({"crop": {"height": 3}}, [("missing", ("crop", "width"))]),
        ({"mean": 0.5}, [("VC103", ("mean",))]),
        ({"mean": []}, [("too_short", ("mean",))]),
        ({"std": [0.5, 0.0, 0.5]}, [("VC104", ("std",))]),
        ({"std": [-1.0]}, [("VC104", ("std",))]),
        ({"std": [float("inf")]}, [("VC104", ("std",))]),
        ({"min_pixels": 8, "max_pixels": 7}, [("VC104", ("min_pixels",))]),
        ({"type": "CLIPImageProcesor"}, [("VC212", ("type",))]),
        ({"type": "GotOcr2ImageProcessor", "crop": False}, [("VC212", ("crop",))]),
    ],
    ids=str,
)
def test_what_cannot(values: dict[str, Any], found: list[Any]) -> None:
    assert faults(ImageProcessorConfig, values) == found


def test_a_class_is_called_by_its_plain_name() -> None:
    for name, message in (
        ("CLIPFeatureExtractor", "'CLIPFeatureExtractor' (did you mean 'CLIPImageProcessor'?)"),
        ("xyz", "unknown image processor 'xyz'; known are "),
    ):
        with pytest.raises(ValidationError) as caught:
            ImageProcessorConfig.model_validate({"type": name})
        assert message in caught.value.errors()[0]["msg"]


def test_keys_that_mean_nothing_to_a_class() -> None:
    config = ImageProcessorConfig.model_validate({"size": 3, "crop": False, "patch_size": 4})
    found = config.unknown_keys("GotOcr2ImageProcessor")
    assert [key for key, _ in found] == ["patch_size", "crop"]
    assert found[0][1].startswith("GotOcr2ImageProcessor does not know it; it takes size, ")
    assert ImageProcessorConfig().unknown_keys("GotOcr2ImageProcessor") == []


def test_a_size_is_what_was_given() -> None:
    size = SizeConfig.model_validate({"longest_edge": 5})
    assert size.given() == {"longest_edge": 5}
