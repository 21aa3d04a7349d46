"""Inkling 2's image processor on Pillow, by hand: transformers' needs torchvision."""

from __future__ import annotations

import numpy as np
from PIL import Image
from support.processors import ragged, settings


def test_squares_put_together_are_the_padded_image() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (13, 22, 3), dtype=np.uint8)
    values = {"size": {"height": 8, "width": 8}, "image_mean": [0.0] * 3, "image_std": [1.0] * 3}
    made = ragged(settings("Inkling2ImageProcessor", **values))([Image.fromarray(pixels)])
    assert made["image_grid_thw"].tolist() == [[1, 2, 3]]
    squares = made["pixel_values"].numpy().reshape(2, 3, 8, 8, 3)
    whole = squares.transpose(0, 2, 1, 3, 4).reshape(16, 24, 3) * 255
    assert np.abs(whole[:13, :22] - pixels).max() < 1e-4
    np.testing.assert_allclose(whole[13:], -1.0, rtol=1e-5)  # darker than black
    np.testing.assert_allclose(whole[:, 22:], -1.0, rtol=1e-5)
