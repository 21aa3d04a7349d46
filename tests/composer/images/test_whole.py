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
from support.processors import dense, settings
from support.whole_images import LEVEL, SIZES, SMALL, noise, ours, resized

from vision_composer.errors import MissingDependencyError
from vision_composer.schemas import PROCESSOR_CLASSES

CLIP = PROCESSOR_CLASSES["CLIPImageProcessor"].defaults


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


# --- classes that transformers has on torchvision only, whose resize of 8-bit pixels is torch's -----------


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
