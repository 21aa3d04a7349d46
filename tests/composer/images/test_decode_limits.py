"""Images that show only once they are decoded what is wrong with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from vision_composer.errors import ImageError
from vision_composer.images import decode


class Late(Image.Image):
    """An image that learns its size when it is decoded, as icons of several sizes may."""

    def load(self) -> Any:
        inner = Image.new("RGB", (64, 64))
        self.im, self._size = inner.im, inner.size
        return super().load()


def test_an_image_that_is_larger_decoded_than_its_header_said(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.new("RGB", (16, 16))
    image.__class__ = Late
    monkeypatch.setattr(decode, "MAX_PIXELS", 1000)
    with pytest.raises(ImageError, match="64x64 pixels is more than the limit"):
        decode.open_image(image)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_not_finite(value: float) -> None:
    with pytest.raises(ImageError, match="not finite"):
        decode.open_image(Image.fromarray(np.array([[0.5, value]], dtype=np.float32)))
