"""Muse Glimmer's image processor beside Pillow and arithmetic; transformers' own needs torchvision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from support.processors import ragged, settings
from support.whole_images import noise

from vision_composer.images.rules import rule_of


@pytest.mark.parametrize("size", [(37, 211), (640, 480), (50, 50), (41, 39)], ids=str)
def test_pixels_are_resized_and_cut_in_raster_order(size: tuple[int, int]) -> None:
    image = noise(*size)
    made = settings("MuseGlimmerImageProcessor", max_image_tokens=40)
    batch = ragged(made)([image])
    width, height = rule_of(made.type, made.values)(*size)
    side, frames = made.values["patch_size"], made.values["temporal_patch_size"]
    rows, columns = height // side, width // side
    assert batch["image_grid_thw"].tolist() == [[1, rows, columns]]
    resized = np.array(image.resize((width, height), Image.Resampling(made.values["resample"])))
    mean, std = (np.array(made.values[key]) for key in ("image_mean", "image_std"))
    want = ((resized / 255 - mean) / std).transpose(2, 0, 1)
    patches = want.reshape(3, rows, side, columns, side).transpose(1, 3, 0, 2, 4).reshape(rows * columns, -1)
    np.testing.assert_allclose(batch["pixel_values"].numpy(), np.tile(patches, (1, frames)), atol=1e-5)


def test_images_stand_one_after_the_other() -> None:
    preprocess = ragged(settings("MuseGlimmerImageProcessor", max_image_tokens=40))
    images = [noise(64, 64), noise(90, 40)]
    alone = [preprocess([image])["pixel_values"] for image in images]
    assert preprocess(images)["pixel_values"].equal(torch.cat(alone))
