"""An image resized, cropped and laid out as patches, without transformers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .patch_order import PatchOrder, Pixels
from .resampling import resize
from .steps import Steps

if TYPE_CHECKING:
    from PIL import Image

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
        pixels = resize(image, self.size(*image.size), self.resample)
        if self.crop is not None:
            pixels = _centre(pixels, *self.crop)
        if self.order is None:
            return {"pixel_values": np.ascontiguousarray(pixels)[None]}
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


def _centre(pixels: Pixels, width: int, height: int) -> Pixels:
    """Cut the centre out; what is smaller is padded with black, the odd pixel in front."""
    _, *sizes = pixels.shape
    missing = [max(wanted - own, 0) for own, wanted in zip(sizes, (height, width), strict=True)]
    if any(missing):
        pixels = np.pad(pixels, [(0, 0), *(((more + 1) // 2, more // 2) for more in missing)])
    top, left = ((own - wanted) // 2 for own, wanted in zip(pixels.shape[1:], (height, width), strict=True))
    return pixels[:, top : top + height, left : left + width]
