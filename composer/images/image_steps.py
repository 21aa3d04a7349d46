"""An image resized, cropped and laid out as patches by Pillow and numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from .patch_order import PatchOrder
from .steps import Steps

if TYPE_CHECKING:
    from .reading import Arrays
    from .resize import ResizeRule


@dataclass(frozen=True)
class ImageSteps:
    """What many image processors do before their arithmetic.

    Attributes:
        rule: Gives the size to which an image is resized; None if it is not.
        resample: Pillow's filter for that.
        crop: Width and height that are cut out of the centre afterwards; None for all.
        order: The order of pixels laid out as patches; None for an image.
    """

    rule: ResizeRule | None
    resample: int
    crop: tuple[int, int] | None
    order: PatchOrder | None

    def __call__(self, image: Image.Image) -> Arrays:
        """Return ``pixel_values`` of an image in RGB or grey, uint8.

        They are (1, channels, height, width); or, in an order of patches, (patches, values), beside
        ``image_grid_thw`` (1, 3).

        Raises:
            InputError: If the rule refuses the image's size.
        """
        size = self.size(*image.size)
        if size != image.size:
            image = image.resize(size, self.resample)
        if self.crop is not None:
            image = _centre(image, *self.crop)
        pixels = np.asarray(image)
        pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        if self.order is None:
            return {"pixel_values": np.array(pixels[None], order="C")}
        rows, height, width = self.order.patchify(pixels)
        return {"pixel_values": rows, "image_grid_thw": np.array([(1, height, width)])}

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the size in pixels to which an image is resized.

        Raises:
            InputError: If the rule refuses its size.
        """
        if self.rule is None:
            return width, height
        return self.rule.resized(width, height) if isinstance(self.rule, Steps) else self.rule(width, height)


def _centre(image: Image.Image, width: int, height: int) -> Image.Image:
    """Cut the centre out; what is smaller is padded with black, the odd pixel in front."""
    left, top = (_first(own, wanted) for own, wanted in zip(image.size, (width, height), strict=True))
    return image.crop((left, top, left + width, top + height))


def _first(own: int, wanted: int) -> int:
    return (own - wanted) // 2
