"""What a checkpoint's processor config says, and what is said of one that cannot be read."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from support.images import noise_image
from support.processors import CROPPED, PROCESSORS, SQUARE, dense, preprocessor, resolved

from vision_composer.errors import WeightsError
from vision_composer.images.settings import SavedProcessor


def written(folder: Path, values: Any, name: str = "preprocessor_config.json") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
    return folder


def test_defaults_without_a_config(tmp_path: Path) -> None:
    for source in (None, tmp_path, tmp_path / "nowhere"):
        made = resolved("CLIPImageProcessor", source, **CROPPED)
        assert made.values["crop_size"] == {"height": 40, "width": 40}
        assert (made.origin["crop_size"], made.origin["resample"]) == ("encoder", "class")


def test_a_saved_config_is_read_as_from_pretrained_reads_it(tmp_path: Path) -> None:
    saved = transformers.BitImageProcessorPil(
        size={"shortest_edge": 51},
        crop_size={"height": 44, "width": 44},
        image_mean=[0.1, 0.2, 0.3],
        resample=2,
    )
    saved.save_pretrained(tmp_path)
    ours = resolved("BitImageProcessor", tmp_path, **PROCESSORS["BitImageProcessorPil"])
    image = noise_image(90, 61)
    expected = transformers.BitImageProcessorPil.from_pretrained(tmp_path)(image, return_tensors="pt")[
        "pixel_values"
    ]
    assert torch.equal(dense(ours)([image])["pixel_values"], expected)
    again = written(tmp_path / "again", ours.to_json())
    assert torch.equal(dense(resolved("BitImageProcessor", again))([image])["pixel_values"], expected)
    theirs = transformers.BitImageProcessorPil.from_pretrained(again)
    assert torch.equal(theirs(image, return_tensors="pt")["pixel_values"], expected)


def test_whole_numbers_as_sizes(tmp_path: Path) -> None:
    written(
        tmp_path,
        {
            "crop_size": 40,
            "do_center_crop": True,
            "size": 40,
            "feature_extractor_type": "CLIPFeatureExtractor",
        },
    )
    image = noise_image(90, 61)
    pixels = dense(resolved("CLIPImageProcessor", tmp_path))([image])["pixel_values"]
    assert torch.equal(pixels, preprocessor()([image])["pixel_values"])


def test_a_nested_config_goes_first(tmp_path: Path) -> None:
    written(
        tmp_path, {"image_processor": SQUARE, "processor_class": "LlavaProcessor"}, "processor_config.json"
    )
    written(tmp_path, {"size": {"height": 8, "width": 8}})
    assert resolved("SiglipImageProcessor", tmp_path).values["size"]["height"] == 40


def test_a_processor_config_without_an_image_processor(tmp_path: Path) -> None:
    written(tmp_path, {"processor_class": "LlavaProcessor", "patch_size": 14}, "processor_config.json")
    assert resolved("SiglipImageProcessor", tmp_path, **SQUARE).values["size"]["height"] == 40
    written(tmp_path, {"size": {"height": 8, "width": 8}})
    assert resolved("SiglipImageProcessor", tmp_path, **SQUARE).values["size"]["height"] == 8


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        '{"size": {"edge": 3}}',
        '{"size": {"longest_edge": 40}}',
        '{"size": "40"}',
        '{"size": {"shortest_edge": -4}}',
        '{"size": {"shortest_edge": 400000}}',
        '{"crop_size": {"height": 100000, "width": 100000}}',
        '{"resample": 99}',
        '{"image_std": [0, 0, 0]}',
        '{"image_std": [NaN, 1, 1]}',
        '{"rescale_factor": "x"}',
    ],
)
def test_a_broken_config_names_its_file(text: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"preprocessor_config\.json"):
        dense(resolved("CLIPImageProcessor", written(tmp_path, text), **CROPPED))


def test_a_factor_that_only_black_images_survive(tmp_path: Path) -> None:
    written(tmp_path, {"rescale_factor": 1e300})
    with pytest.raises(WeightsError, match=r"preprocessor_config\.json: .* NaN or infinity"):
        dense(resolved("CLIPImageProcessor", tmp_path))


def test_a_processor_config_costs_little_whatever_it_says(tmp_path: Path) -> None:
    huge = {"size": {"height": 13377, "width": 13377}, "do_center_crop": False}
    tracemalloc.start()
    try:
        with pytest.raises(
            WeightsError, match="resized to 13377x13377 pixels, more than the limit of 8,388,608"
        ):
            dense(resolved("SiglipImageProcessor", written(tmp_path, huge), **SQUARE))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 26


def test_a_processor_config_is_a_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "preprocessor_config.json")
    with pytest.raises(WeightsError, match="a named pipe, not a regular file"):
        resolved("CLIPImageProcessor", tmp_path, **CROPPED)


@pytest.mark.parametrize("values", [[], {"image_processor": 3}, "{"])
def test_a_broken_nested_config_names_its_file(values: Any, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"/processor_config\.json"):
        resolved("CLIPImageProcessor", written(tmp_path, values, "processor_config.json"), **CROPPED)


def test_what_cannot_be_read_is_said_without_an_error_number(tmp_path: Path) -> None:
    file = tmp_path / "preprocessor_config.json"
    os.mkfifo(file)
    with pytest.raises(
        WeightsError, match=r"config\.json: cannot be read: a named pipe, not a regular file$"
    ):
        SavedProcessor.read(tmp_path)
    file.unlink()
    file.write_text("[")
    with pytest.raises(WeightsError, match="not readable as a JSON object"):
        SavedProcessor.read(tmp_path)
