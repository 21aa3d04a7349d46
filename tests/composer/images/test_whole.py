"""Pixels of whole images beside those of transformers' own image processors, and their sizes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from sklearn.datasets import load_sample_images
from support.processors import dense, ragged, settings
from torch.nn.functional import interpolate

from vision_composer.errors import ImageError, InputError, MissingDependencyError
from vision_composer.images.rules import rule_of
from vision_composer.images.settings import ProcessorSettings
from vision_composer.schemas import PROCESSOR_CLASSES

RNG = np.random.default_rng(0)
SIZES = [(37, 211), (640, 480), (1280, 33), (50, 50), (3, 64), (41, 39), (1, 1), (1000, 7)]
CLIP = PROCESSOR_CLASSES["CLIPImageProcessor"].defaults
SMALL: dict[str, dict[str, Any]] = {
    "CLIPImageProcessor": {"size": 40, "crop_size": 36},
    "BitImageProcessor": {"size": {"shortest_edge": 40, "longest_edge": 60}, "crop_size": 36},
    "LlavaImageProcessor": {"size": 40, "crop_size": 40, "do_pad": True},
    "LlavaNextImageProcessor": {"size": 40, "crop_size": 40, "image_grid_pinpoints": [[40, 80], [80, 80]]},
    "LlavaOnevisionImageProcessor": {"size": [40, 40], "image_grid_pinpoints": [[40, 80], [80, 80]]},
    "DeepseekVLImageProcessor": {"size": 40, "image_mean": [0.3, 0.4, 0.5]},
    "JanusImageProcessor": {"size": 40, "image_mean": [0.3, 0.4, 0.5]},
    "SiglipImageProcessor": {"size": {"height": 30, "width": 40}},
    "ViTImageProcessor": {"size": 40, "do_center_crop": True, "crop_size": {"height": 44, "width": 33}},
    "DeiTImageProcessor": {"size": 40, "crop_size": 36},
    "BlipImageProcessor": {"size": 40, "resample": 2},
    "GotOcr2ImageProcessor": {"size": 40, "crop_to_patches": True},
    "Ovis2ImageProcessor": {"size": 40, "crop_to_patches": True, "do_center_crop": True, "crop_size": 36},
    "GraniteDoclingImageProcessor": {"size": 40},
    "Gemma3ImageProcessor": {
        "size": 40,
        "do_pan_and_scan": True,
        "pan_and_scan_min_crop_size": 16,
        "pan_and_scan_max_num_crops": 4,
        "pan_and_scan_min_ratio_to_activate": 1.2,
    },
    "Qwen2VLImageProcessor": {"min_pixels": 56 * 56, "max_pixels": 28 * 28 * 20},
    "CohereCompassImageProcessor": {"min_pixels": 56 * 56, "max_pixels": 28 * 28 * 20},
    "Glm4vImageProcessor": {"size": {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 40}},
    "Glm46VImageProcessor": {"size": {"shortest_edge": 56 * 56, "longest_edge": 28 * 28 * 40}},
    "PixtralImageProcessor": {"size": {"longest_edge": 112}, "patch_size": 28},
    "Siglip2ImageProcessor": {"max_num_patches": 20},
    "Gemma4ImageProcessor": {"max_soft_tokens": 70},
    "Idefics2ImageProcessor": {
        "size": {"shortest_edge": 20, "longest_edge": 90},
        "do_image_splitting": True,
    },
    "Idefics3ImageProcessor": {"size": {"longest_edge": 160}, "max_image_size": {"longest_edge": 40}},
    "SmolVLMImageProcessor": {"size": {"longest_edge": 100}, "max_image_size": {"longest_edge": 40}},
    "AriaImageProcessor": {"max_image_size": 490},
    "MllamaImageProcessor": {"size": 40},
}


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8))


def whole_of(name: str, output: Any) -> np.ndarray[Any, Any]:
    """The view of the whole image in what transformers' processor makes, tiles and all."""
    pixels = np.asarray(output["pixel_values"])
    if name in ("LlavaNextImageProcessor", "LlavaOnevisionImageProcessor"):
        return pixels[0, 0]
    if name == "Ovis2ImageProcessor":
        return pixels[0]
    if name == "GotOcr2ImageProcessor":
        return pixels[-1]
    if name == "GraniteDoclingImageProcessor":
        return pixels[0, -1]
    if name in ("Idefics2ImageProcessor", "Idefics3ImageProcessor", "SmolVLMImageProcessor"):
        mask = output["pixel_attention_mask"][0, -1].astype(bool)
        return pixels[0, -1][:, : mask[:, 0].sum(), : mask[0].sum()]
    if PROCESSOR_CLASSES[name].inputs in ("qwen_patches", "mllama", "gemma4", "naflex"):
        return pixels
    return pixels[0]


def ours(made: ProcessorSettings, image: Image.Image) -> np.ndarray[Any, Any]:
    if made.processor_class.inputs == "pixels":
        return dense(made)([image])["pixel_values"][0].numpy()
    pixels = ragged(made)([image])["pixel_values"].numpy()
    while made.processor_class.inputs in ("idefics2", "idefics3", "pixtral") and pixels.ndim > 3:
        pixels = pixels[0]
    return pixels


@pytest.mark.parametrize("name", SMALL)
def test_the_whole_image_is_that_of_transformers(name: str) -> None:
    made = settings(name, **SMALL[name])
    theirs = getattr(transformers, f"{name}Pil")(**SMALL[name])
    for size in SIZES:
        image = noise(*size)
        if SMALL[name].get("do_image_splitting") and min(size) < 2:
            continue  # theirs fails on its tiles, of which nothing is left
        try:
            want = whole_of(name, theirs(image, return_tensors="np"))
        except (ValueError, TypeError, ZeroDivisionError):
            with pytest.raises(ValueError, match=r"cannot be preprocessed|too thin|pixels"):
                ours(made, image)
            continue
        assert np.array_equal(ours(made, image), want.astype(np.float32)), size


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


# --- classes that transformers has on torchvision only, whose resize of 8-bit pixels is torch's -----------


def resized(image: Image.Image, width: int, height: int, mode: str) -> torch.Tensor:
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    return interpolate(pixels, size=(height, width), mode=mode, antialias=True)[0]


LEVEL = 1.01 / 255
"""What one grey level, and rounding, change in a pixel from 0 to 1."""


@pytest.mark.parametrize("size", [*SIZES, (320, 240), (1, 1000)], ids=str)
def test_lfm2_vl_is_within_a_grey_level_of_torchs_arithmetic(size: tuple[int, int]) -> None:
    image = noise(*size)
    made = settings("Lfm2VlImageProcessor", min_image_tokens=4, max_image_tokens=20)
    batch = ragged(made)([image])
    ((rows, columns),) = batch["spatial_shapes"].tolist()
    assert (columns * 16, rows * 16) == rule_of(made.type, made.values)(*size)
    want = (resized(image, columns * 16, rows * 16, "bilinear").float() / 255 - 0.5) / 0.5
    patches = want.reshape(3, rows, 16, columns, 16).permute(1, 3, 2, 4, 0).reshape(rows * columns, -1)
    assert batch["pixel_values"].shape == (1, max(20 * 4, rows * columns), 768)
    assert batch["pixel_attention_mask"].sum() == rows * columns
    assert (batch["pixel_values"][0, : rows * columns] - patches).abs().max() <= 2 * LEVEL
    assert not batch["pixel_values"][0, rows * columns :].any()


def test_an_image_of_320_by_240_pixels_is_320_patches_in_lfm2_vl() -> None:
    made = settings("Lfm2VlImageProcessor")
    assert rule_of(made.type, made.values)(320, 240) == (20 * 16, 16 * 16)


def test_dinov3_is_within_a_grey_level_of_torchs_arithmetic() -> None:
    """There, pixels are rescaled before they are resized."""
    made = settings("DINOv3ViTImageProcessor", size=40)
    mean, std = (torch.tensor(made.values[key]).view(3, 1, 1) for key in ("image_mean", "image_std"))
    for size in SIZES:
        image = noise(*size)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255
        want = (interpolate(pixels, size=(40, 40), mode="bilinear", antialias=True)[0] - mean) / std
        assert np.abs(ours(made, image) - want.numpy()).max() <= LEVEL / float(std.min())


def test_llama_4_computes_in_bfloat16() -> None:
    made = settings("Llama4ImageProcessor", size=40)
    image = noise(40, 40)  # not resized, so that only the arithmetic differs
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).to(torch.bfloat16) * (1 / 255)
    half = torch.tensor([0.5] * 3, dtype=torch.bfloat16).view(3, 1, 1)
    want = pixels.sub(half).div(half)
    assert np.array_equal(ours(made, image), want.float().numpy())
    for size in SIZES:
        image = noise(*size)
        want = (resized(image, 40, 40, "bilinear").float() / 255 - 0.5) / 0.5
        assert np.abs(ours(made, image) - want.numpy()).max() <= 2 * LEVEL + 2**-7


@pytest.mark.parametrize("crop_to_patches", [True, False])
def test_cohere2_vision_is_within_a_grey_level_of_torchs_arithmetic(crop_to_patches: bool) -> None:
    """On photos. Pillow and torch round between the two passes of a bicubic filter, each in its own order."""
    mean, std = (torch.tensor(CLIP[key]).view(3, 1, 1) for key in ("image_mean", "image_std"))
    for side in (40, 320):
        made = settings("Cohere2VisionImageProcessor", size=side, crop_to_patches=crop_to_patches)
        for photo in load_sample_images().images:
            image = Image.fromarray(photo)
            want = (resized(image, side, side, "bicubic").float() / 255 - mean) / std
            assert np.abs(ours(made, image) - want.numpy()).max() <= LEVEL / float(std.min())


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
