"""Molmo2's image processor without torchvision beside transformers' steps, with torch's resize."""

from __future__ import annotations

import pytest
import torch
from support.processors import ragged, settings
from support.whole_images import SIZES, noise
from transformers.models.molmo2.image_processing_molmo2 import batch_pixels_to_patches

from vision_composer.errors import WeightsError
from vision_composer.testing.molmo2 import Molmo2WithoutTorchvision


@pytest.mark.parametrize("size", [*SIZES, (320, 240), (1, 1000)], ids=str)
def test_an_image_is_the_first_view_of_transformers(size: tuple[int, int]) -> None:
    image = noise(*size)
    made = settings("Molmo2ImageProcessor", size={"height": 30, "width": 30}, patch_size=8, max_crops=3)
    ours = ragged(made)([image])["pixel_values"]
    assert ours.shape == (1, 9, 192)
    sides = {"height": 24, "width": 24}
    theirs = Molmo2WithoutTorchvision(size=sides, patch_size=8, max_crops=3, overlap_margins=[1, 0])
    made = settings("Molmo2ImageProcessor", size=sides, patch_size=8)
    want = theirs([image])["pixel_values"][:1]
    assert (ragged(made)([image])["pixel_values"] - want).abs().max() < 1e-6


def test_pixels_are_of_neighbours_alone_and_of_eight_bits() -> None:
    """Shrunk without smoothing: every second line is not seen at all."""
    image = noise(32, 32)
    made = settings("Molmo2ImageProcessor", size={"height": 8, "width": 8}, patch_size=4)
    ours = ragged(made)([image])["pixel_values"]
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(32, 32, 3).float()
    means = pixels[1::4] + pixels[2::4]
    want = ((means[:, 1::4] + means[:, 2::4]) / 4).round()
    assert (ours - batch_pixels_to_patches(want[None] / 127.5 - 1, 4)).abs().max() < 1e-6


def test_filters_that_torch_has_only_with_smoothing_are_refused() -> None:
    with pytest.raises(WeightsError, match="resample is 1; this image processor takes 2 and 3"):
        ragged(settings("Molmo2ImageProcessor", resample=1))
