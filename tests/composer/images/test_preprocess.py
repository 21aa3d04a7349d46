"""Preprocessing: against transformers' processors called directly on the RGB image, bit for bit."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from sklearn.datasets import load_sample_images
from support.processors import dense, resolved, settings

from vision_composer.encoders import family_of
from vision_composer.errors import ImageError, InputError, MissingDependencyError, WeightsError
from vision_composer.images.decode import open_image
from vision_composer.images.preprocess import ImagePreprocessor
from vision_composer.jobs.reading import iter_inputs
from vision_composer.schemas import ENCODER_CONFIGS, encoder_config

RNG = np.random.default_rng(0)
SQUARE = {"size": {"height": 40, "width": 40}}
CROPPED = {"size": {"shortest_edge": 40}, "crop_size": {"height": 40, "width": 40}}
PROCESSORS = {
    "CLIPImageProcessorPil": CROPPED,
    "BitImageProcessorPil": {"size": {"shortest_edge": 46}, "crop_size": {"height": 40, "width": 40}},
    "SiglipImageProcessorPil": SQUARE,
    "BlipImageProcessorPil": SQUARE,
    "GotOcr2ImageProcessorPil": SQUARE,
    "ViTImageProcessorPil": SQUARE,
}
SIZES = [
    (1, 1),
    (1, 50),
    (50, 1),
    (3, 3),
    (4, 7),
    (3, 64),
    (40, 40),
    (41, 39),
    (97, 33),
    (13, 301),
    (640, 427),
]


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8))


def preprocessor(class_name: str = "CLIPImageProcessorPil", **values: Any) -> ImagePreprocessor:
    return dense(settings(class_name.removesuffix("Pil"), **{**PROCESSORS[class_name], **values}))


# --- parity -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("class_name", PROCESSORS)
def test_equals_the_processor_called_directly(class_name: str) -> None:
    direct = getattr(transformers, class_name)(**PROCESSORS[class_name])
    preprocess = preprocessor(class_name)
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    images = [*photos, *(noise(*size) for size in SIZES)]
    expected = torch.cat([direct(image, return_tensors="pt")["pixel_values"] for image in images])
    batch = preprocess(images)
    assert list(batch) == ["pixel_values"]
    assert batch["pixel_values"].dtype == torch.float32
    assert torch.equal(batch["pixel_values"], expected)
    for image, row in zip(images, expected, strict=True):
        assert torch.equal(preprocess([image])["pixel_values"][0], row)


def test_every_kind_of_image(tmp_path: Path) -> None:
    rgba = Image.fromarray(RNG.integers(0, 256, (30, 20, 4), dtype=np.uint8))
    path = tmp_path / "p.png"
    rgba.save(path)
    direct = transformers.CLIPImageProcessorPil(**CROPPED)(open_image(path), return_tensors="pt")[
        "pixel_values"
    ]
    batch = preprocessor()([path, str(path), rgba, np.asarray(rgba)])["pixel_values"]
    assert all(torch.equal(row, direct[0]) for row in batch)


@pytest.mark.parametrize(
    "model_type", [name for name, config in ENCODER_CONFIGS.items() if not (config.packed or config.tiled)]
)
def test_families_make_their_own_size(model_type: str) -> None:
    encoder = encoder_config({"model_type": model_type, "image_size": 48, "patch_size": 16})
    family = family_of(encoder)
    preprocess = family.preprocessor(encoder, family.processor_settings(encoder))
    pixels = preprocess([noise(70, 30), noise(20, 50)])["pixel_values"]
    assert pixels.shape == (2, 3, 48, 48)


def test_grey_tower() -> None:
    values = {"image_mean": [0.2, 0.4, 0.6], "image_std": [0.1, 0.2, 0.3], **CROPPED}
    image = noise(57, 49)
    pixels = dense(settings("CLIPImageProcessor", **values), num_channels=1)([image])["pixel_values"]
    direct = transformers.CLIPImageProcessorPil(**CROPPED, do_normalize=False, do_convert_rgb=False)
    expected = (direct(image.convert("L"), return_tensors="pt")["pixel_values"] - 0.4) / 0.2
    assert pixels.shape == (1, 1, 40, 40)
    torch.testing.assert_close(pixels, expected)


def test_grey_tower_with_its_own_mean(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.1], "image_std": [0.5], **CROPPED})
    )
    preprocess = dense(resolved("CLIPImageProcessor", tmp_path), num_channels=1)
    pixels = preprocess([Image.new("RGB", (60, 50), (51, 51, 51))])["pixel_values"]
    torch.testing.assert_close(pixels, torch.full((1, 1, 40, 40), (0.2 - 0.1) / 0.5))


class StandIn(type):
    """As transformers makes of a class whose library it misses: any attribute is an error."""

    @property
    def valid_kwargs(cls) -> Any:
        raise ImportError(f"\n{cls.__name__} requires the Torchvision library,\nwhich was not found\n")


def test_a_processor_whose_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in: Any = StandIn("CLIPImageProcessorPil", (), {})
    lacking = SimpleNamespace(CLIPImageProcessorPil=stand_in)
    monkeypatch.setattr("vision_composer.images.whole.import_module", lambda *_: lacking)
    message = "^CLIPImageProcessorPil requires the Torchvision library, which was not found$"
    with pytest.raises(MissingDependencyError, match=message):
        dense(settings("CLIPImageProcessor"))


# --- the checkpoint's processor config ----------------------------------------------------------------


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
    image = noise(90, 61)
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
    image = noise(90, 61)
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


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 30000), (30000, 1), (2, 60000)])
def test_a_strip_that_would_become_huge(size: tuple[int, int]) -> None:
    preprocess = preprocessor(size={"shortest_edge": 224})
    with pytest.raises(ImageError, match=r"image 1: .*resized to \d+x224 pixels"):
        preprocess([noise(5, 5), Image.new("RGB", size)])


def test_a_strip_of_moderate_length() -> None:
    strip = noise(1, 400)
    direct = transformers.CLIPImageProcessorPil(**CROPPED)(strip, return_tensors="pt")["pixel_values"]
    assert torch.equal(preprocessor()([strip])["pixel_values"], direct)
    assert (
        preprocessor("SiglipImageProcessorPil")([Image.new("RGB", (1, 30000))])["pixel_values"].shape[-1]
        == 40
    )


def test_errors_name_the_image(tmp_path: Path) -> None:
    for images, name in (
        ([noise(9, 9), tmp_path / "no.png"], str(tmp_path / "no.png")),
        ([noise(9, 9), None], "image 1"),
    ):
        with pytest.raises(ImageError) as caught:
            preprocessor()(images)
        assert caught.value.name == name


def test_no_batch() -> None:
    with pytest.raises(InputError, match="no images"):
        preprocessor()([])
    with pytest.raises(InputError, match="4 channels"):
        dense(settings("CLIPImageProcessor", **CROPPED), num_channels=4)([noise(9, 9)])
    with pytest.raises(InputError, match="53x40, 80x40"):
        preprocessor(do_center_crop=False)([noise(80, 40), noise(80, 60)])


@pytest.mark.parametrize("kind", [str, Path, np.asarray, Image.fromarray])
def test_one_image_is_no_list(kind: Any, tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = kind(tmp_path / "a.png" if kind in (str, Path) else pixels)
    with pytest.raises(InputError, match=r"expected a list of images; for one image write \[image\]"):
        preprocessor()(image)
    assert preprocessor()([image])["pixel_values"].shape[0] == 1


# --- reading ahead ------------------------------------------------------------------------------------


def test_a_broken_image_takes_nothing_else_down(tmp_path: Path) -> None:
    images: list[Any] = []
    for i in range(40):
        path = tmp_path / f"{i:02d}.png"
        if i % 7 == 3:
            path.write_bytes(b"broken")
        else:
            Image.new("RGB", (9, 9), (i, i, i)).save(path)
        images.append(path if i % 2 else str(path))
    images += [noise(9, 9), np.zeros((9, 9), np.uint16)]
    preprocess = preprocessor(do_normalize=False)
    rows = list(iter_inputs(images, preprocess))
    assert [index for index, _, _ in rows] == list(range(42))
    assert [name for _, name, _ in rows] == [*map(str, images[:40]), "image 40", "image 41"]
    for index, name, result in rows:
        if (index % 7 == 3 and index < 40) or index == 41:
            assert isinstance(result, ImageError)
            assert result.name == name
        elif index < 40:
            torch.testing.assert_close(result["pixel_values"][0], torch.full((3, 40, 40), index / 255))


def test_images_are_read_as_they_are_needed() -> None:
    asked = 0

    def endless() -> Any:
        nonlocal asked
        for _ in itertools.count():
            asked += 1
            yield noise(5, 5)

    rows = iter_inputs(endless(), preprocessor())
    assert [next(rows)[0] for _ in range(3)] == [0, 1, 2]
    rows.close()
    assert asked < 30


def test_other_errors_are_not_swallowed() -> None:
    with pytest.raises(InputError, match="4 channels"):
        list(iter_inputs([noise(5, 5)], dense(settings("CLIPImageProcessor", **CROPPED), num_channels=4)))


def test_importing_loads_no_torch() -> None:
    modules = "vision_composer.images.preprocess, vision_composer.jobs"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_factor_that_only_black_images_survive(tmp_path: Path) -> None:
    written(tmp_path, {"rescale_factor": 1e300})
    with pytest.raises(WeightsError, match=r"preprocessor_config\.json: .* NaN or infinity"):
        dense(resolved("CLIPImageProcessor", tmp_path))
