"""Preprocessing: against transformers' processors called directly on the RGB image, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from sklearn.datasets import load_sample_images
from support.images import noise_image
from support.processors import CROPPED, PROCESSORS, dense, preprocessor, resolved, settings

from vision_composer.encoders import family_of
from vision_composer.errors import ImageError, InputError
from vision_composer.images.decode import open_image
from vision_composer.images.preprocess import DensePreprocessor
from vision_composer.images.reading import ImageReader
from vision_composer.images.steps import Steps
from vision_composer.schemas import ENCODER_CONFIGS, encoder_config

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


@pytest.mark.parametrize("class_name", PROCESSORS)
def test_equals_the_processor_called_directly(class_name: str) -> None:
    direct = getattr(transformers, class_name)(**PROCESSORS[class_name])
    preprocess = preprocessor(class_name)
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    images = [*photos, *(noise_image(*size) for size in SIZES)]
    expected = torch.cat([direct(image, return_tensors="pt")["pixel_values"] for image in images])
    batch = preprocess(images)
    assert list(batch) == ["pixel_values"]
    assert batch["pixel_values"].dtype == torch.float32
    assert torch.equal(batch["pixel_values"], expected)
    for image, row in zip(images, expected, strict=True):
        assert torch.equal(preprocess([image])["pixel_values"][0], row)


def test_every_kind_of_image(tmp_path: Path) -> None:
    rgba = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 20, 4), dtype=np.uint8))
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
    pixels = preprocess([noise_image(70, 30), noise_image(20, 50)])["pixel_values"]
    assert pixels.shape == ((2, 9, 768) if model_type == "molmo2_vision" else (2, 3, 48, 48))


def test_grey_tower() -> None:
    values = {"image_mean": [0.2, 0.4, 0.6], "image_std": [0.1, 0.2, 0.3], **CROPPED}
    image = noise_image(57, 49)
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


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 30000), (30000, 1), (2, 60000)])
def test_a_strip_that_would_become_huge(size: tuple[int, int]) -> None:
    preprocess = preprocessor(size={"shortest_edge": 224})
    with pytest.raises(ImageError, match=r"image 1: .*resized to \d+x224 pixels"):
        preprocess([noise_image(5, 5), Image.new("RGB", size)])


def test_a_strip_of_moderate_length() -> None:
    strip = noise_image(1, 400)
    direct = transformers.CLIPImageProcessorPil(**CROPPED)(strip, return_tensors="pt")["pixel_values"]
    assert torch.equal(preprocessor()([strip])["pixel_values"], direct)
    assert (
        preprocessor("SiglipImageProcessorPil")([Image.new("RGB", (1, 30000))])["pixel_values"].shape[-1]
        == 40
    )


def test_errors_name_the_image(tmp_path: Path) -> None:
    for images, name in (
        ([noise_image(9, 9), tmp_path / "no.png"], str(tmp_path / "no.png")),
        ([noise_image(9, 9), None], "image 1"),
    ):
        with pytest.raises(ImageError) as caught:
            preprocessor()(images)
        assert caught.value.name == name


def test_no_batch() -> None:
    with pytest.raises(InputError, match="no images"):
        preprocessor()([])
    with pytest.raises(InputError, match="4 channels"):
        dense(settings("CLIPImageProcessor", **CROPPED), num_channels=4)([noise_image(9, 9)])
    with pytest.raises(InputError, match="53x40, 80x40"):
        preprocessor(do_center_crop=False)([noise_image(80, 40), noise_image(80, 60)])


@pytest.mark.parametrize("kind", [str, Path, np.asarray, Image.fromarray])
def test_one_image_is_no_list(kind: Any, tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image = kind(tmp_path / "a.png" if kind in (str, Path) else pixels)
    with pytest.raises(InputError, match=r"expected a list of images; for one image write \[image\]"):
        preprocessor()(image)
    assert preprocessor()([image])["pixel_values"].shape[0] == 1


@pytest.mark.parametrize("images", [iter([np.zeros((8, 8, 3), np.uint8)]), None, b"a file"])
def test_what_else_is_no_list(images: Any) -> None:
    with pytest.raises(InputError, match="expected a list of images"):
        preprocessor()(images)


@pytest.mark.parametrize(("height", "width"), [(32, 40), (40, 32)])
def test_a_processor_of_another_tower_is_refused(height: int, width: int) -> None:
    preprocessor = DensePreprocessor(
        ImageReader(dict, Steps()), transformers.CLIPImageProcessorPil(), None, size=32
    )
    with pytest.raises(InputError, match=f"makes 3 channels of {width}x{height} pixels"):
        preprocessor.collate([{"pixel_values": torch.zeros(1, 3, height, width)}])


def test_only_pixels_of_one_size_share_a_batch() -> None:
    made = preprocessor()
    square, same, wide = (
        {"pixel_values": torch.zeros(1, 3, *size)} for size in ((28, 28), (28, 28), (28, 42))
    )
    assert made.share(square, same)
    assert not made.share(square, wide)
