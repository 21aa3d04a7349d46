"""Kimi's image processor on Pillow, against Pillow and arithmetic; transformers' own needs torchvision."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from vision_composer.images.kimi_k25 import Kimi_K25ImageProcessorPil


@pytest.mark.parametrize("size", [(40, 30), (56, 56), (13, 200), (1, 1), (400, 300)], ids=str)
def test_pixels_are_resized_padded_with_black_and_cut_in_raster_order(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    processor = Kimi_K25ImageProcessorPil(max_patches=100, size={"max_height": 20, "max_width": 20})
    batch = processor(image, return_tensors="np")
    [[frames, rows, columns]] = batch["image_grid_thw"].tolist()
    patches = batch["pixel_values"]
    assert (frames, patches.shape) == (1, (rows * columns, 3, 14, 14))
    whole = patches.reshape(rows, columns, 3, 14, 14).transpose(2, 0, 3, 1, 4).reshape(3, rows * 14, -1)
    scale = min(1.0, (100 / (max(1, size[1] // 14) * max(1, size[0] // 14))) ** 0.5)
    scale = min(scale, 280 / size[0], 280 / size[1])
    width, height = (max(1, int(side * scale)) for side in size)
    want = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float32)
    np.testing.assert_allclose(whole[:, :height, :width], want.transpose(2, 0, 1) / 255 / 0.5 - 1, atol=1e-5)
    padding = np.ones_like(whole, dtype=bool)
    padding[:, :height, :width] = False
    assert (whole[padding] == -1).all()
    assert (rows % 2, columns % 2) == (0, 0)
    assert (rows * 14 - height, columns * 14 - width) < (28, 28)


def test_several_images_stand_one_after_the_other() -> None:
    images = [Image.new("RGB", size, color) for size, color in (((28, 28), "red"), ((56, 28), "blue"))]
    processor = Kimi_K25ImageProcessorPil()
    batch = processor(images, return_tensors="np")
    assert batch["image_grid_thw"].tolist() == [[1, 2, 2], [1, 2, 4]]
    for image, part in zip(images, np.split(batch["pixel_values"], [4]), strict=True):
        np.testing.assert_array_equal(processor(image, return_tensors="np")["pixel_values"], part)
