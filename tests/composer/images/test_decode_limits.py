"""Images that show only once they are decoded what is wrong with them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from vision_composer.errors import ImageError
from vision_composer.images import decode


def test_an_icon_with_a_larger_image_inside_than_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "ICO", sizes=[(64, 64)])
    icon = bytearray(file.getvalue())
    icon[6:8] = bytes([16, 16])  # width and height in its directory
    monkeypatch.setattr(decode, "MAX_PIXELS", 1000)
    with Image.open(io.BytesIO(bytes(icon))) as image:
        assert image.size == (16, 16)
        with pytest.raises(ImageError, match="64x64 pixels is more than the limit"):
            decode.open_image(image)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite(value: float) -> None:
    with pytest.raises(ImageError, match="not finite"):
        decode.open_image(Image.fromarray(np.array([[0.5, value]], dtype=np.float32)))
