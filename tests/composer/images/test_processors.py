"""What a processor is given, and what of a checkpoint's values."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from PIL import Image
from support.images import noise_image
from support.processors import CROPPED, PROCESSORS, SQUARE, preprocessor

from vision_composer.errors import MissingDependencyError, WeightsError
from vision_composer.images.preprocess import DensePreprocessor
from vision_composer.images.processors import load_image_processor, process_ragged


def test_an_image_is_not_given_to_a_processor_that_would_make_it_huge() -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("resized")

    with pytest.raises(ValueError, match="14000x14000 pixels, more than the limit"):
        process_ragged(never, lambda width, height: (14_000, 14_000), Image.new("RGB", (8, 8)))  # type: ignore[arg-type]  # no ResizeRule


class StandIn(type):
    """As transformers makes of a class whose library it misses: any attribute is an error."""

    @property
    def valid_kwargs(cls) -> Any:
        raise ImportError(f"\n{cls.__name__} requires the Torchvision library,\nwhich was not found\n")


def test_a_processor_whose_library_is_missing() -> None:
    processor_class: Any = StandIn("FamilyImageProcessorPil", (), {})
    message = "^FamilyImageProcessorPil requires the Torchvision library, which was not found$"
    with pytest.raises(MissingDependencyError, match=message):
        load_image_processor(processor_class, {}, None)


# --- the checkpoint's processor config ----------------------------------------------------------------


def written(folder: Path, values: Any, name: str = "preprocessor_config.json") -> Path:
    (folder / name).write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
    return folder


def test_defaults_without_a_config(tmp_path: Path) -> None:
    for source in (None, tmp_path, tmp_path / "nowhere"):
        processor = load_image_processor(transformers.CLIPImageProcessorPil, CROPPED, source)
        assert dict(processor.crop_size) == {"height": 40, "width": 40}


def test_null_says_nothing(tmp_path: Path) -> None:
    """As where the key is left out: the family's value counts."""
    written(tmp_path, {"image_mean": None, "do_resize": False})
    defaults = {"image_mean": [0.1, 0.2, 0.3], "size": {"shortest_edge": 32}}
    processor = load_image_processor(transformers.CLIPImageProcessorPil, defaults, tmp_path)
    assert list(processor.image_mean) == [0.1, 0.2, 0.3]
    assert not processor.do_resize


def test_a_saved_config_is_read_as_from_pretrained_reads_it(tmp_path: Path) -> None:
    saved = transformers.BitImageProcessorPil(
        size={"shortest_edge": 51},
        crop_size={"height": 44, "width": 44},
        image_mean=[0.1, 0.2, 0.3],
        resample=2,
    )
    saved.save_pretrained(tmp_path)
    ours = load_image_processor(
        transformers.BitImageProcessorPil, PROCESSORS["BitImageProcessorPil"], tmp_path
    )
    image = noise_image(90, 61)
    expected = transformers.BitImageProcessorPil.from_pretrained(tmp_path)(image, return_tensors="pt")[
        "pixel_values"
    ]
    assert torch.equal(DensePreprocessor(ours)([image])["pixel_values"], expected)
    ours.save_pretrained(tmp_path / "again")
    again = load_image_processor(transformers.BitImageProcessorPil, {}, tmp_path / "again")
    assert torch.equal(DensePreprocessor(again)([image])["pixel_values"], expected)


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
    processor = load_image_processor(transformers.CLIPImageProcessorPil, {}, tmp_path)
    image = noise_image(90, 61)
    assert torch.equal(
        DensePreprocessor(processor)([image])["pixel_values"], preprocessor()([image])["pixel_values"]
    )


def test_a_nested_config_goes_first(tmp_path: Path) -> None:
    written(
        tmp_path, {"image_processor": SQUARE, "processor_class": "LlavaProcessor"}, "processor_config.json"
    )
    written(tmp_path, {"size": {"height": 8, "width": 8}})
    assert load_image_processor(transformers.SiglipImageProcessorPil, {}, tmp_path).size.height == 40


def test_a_processor_config_without_an_image_processor(tmp_path: Path) -> None:
    written(tmp_path, {"processor_class": "LlavaProcessor", "patch_size": 14}, "processor_config.json")
    assert load_image_processor(transformers.SiglipImageProcessorPil, SQUARE, tmp_path).size.height == 40
    written(tmp_path, {"size": {"height": 8, "width": 8}})
    assert load_image_processor(transformers.SiglipImageProcessorPil, SQUARE, tmp_path).size.height == 8


@pytest.mark.parametrize(
    ("vlm", "values", "tower"),
    [
        (
            "LlavaNextImageProcessorPil",
            {**CROPPED, "image_grid_pinpoints": [[40, 80], [80, 40]]},
            "CLIPImageProcessorPil",
        ),
        (
            "LlavaOnevisionImageProcessorPil",
            {**SQUARE, "image_grid_pinpoints": [[40, 80]]},
            "SiglipImageProcessorPil",
        ),
        ("GotOcr2ImageProcessorPil", {**SQUARE, "crop_to_patches": True}, "GotOcr2ImageProcessorPil"),
        ("LlavaImageProcessorPil", {**CROPPED, "do_pad": True}, "CLIPImageProcessorPil"),
    ],
)
def test_no_tiles_of_a_vision_language_model(
    vlm: str, values: dict[str, Any], tower: str, tmp_path: Path
) -> None:
    getattr(transformers, vlm)(**values).save_pretrained(tmp_path)
    images = [noise_image(200, 70), noise_image(40, 90)]
    batch = DensePreprocessor(load_image_processor(getattr(transformers, tower), {}, tmp_path))(images)[
        "pixel_values"
    ]
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
    common = {
        key: saved[key]
        for key in ("size", "crop_size", "image_mean", "image_std", "resample")
        if key in saved
    }
    direct = getattr(transformers, tower)(**common)
    assert torch.equal(batch, direct(images, return_tensors="pt")["pixel_values"])


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
        load_image_processor(transformers.CLIPImageProcessorPil, CROPPED, written(tmp_path, text))


def test_a_factor_that_only_black_images_survive(tmp_path: Path) -> None:
    written(tmp_path, {"rescale_factor": 1e300})
    with pytest.raises(WeightsError, match=r"preprocessor_config\.json: .* NaN or infinity"):
        load_image_processor(transformers.CLIPImageProcessorPil, {}, tmp_path)


def test_a_processor_config_costs_little_whatever_it_says(tmp_path: Path) -> None:
    huge = {"size": {"height": 13377, "width": 13377}, "do_center_crop": False}
    tracemalloc.start()
    try:
        with pytest.raises(
            WeightsError, match="resized to 13377x13377 pixels, more than the limit of 8,388,608"
        ):
            load_image_processor(transformers.SiglipImageProcessorPil, SQUARE, written(tmp_path, huge))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 26


def test_a_processor_config_is_a_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "preprocessor_config.json")
    with pytest.raises(WeightsError, match="a named pipe, not a regular file"):
        load_image_processor(transformers.CLIPImageProcessorPil, CROPPED, tmp_path)


@pytest.mark.parametrize("values", [[], {"image_processor": 3}, "{"])
def test_a_broken_nested_config_names_its_file(values: Any, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"/processor_config\.json"):
        load_image_processor(
            transformers.CLIPImageProcessorPil, CROPPED, written(tmp_path, values, "processor_config.json")
        )
