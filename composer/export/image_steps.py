"""Images to the inputs of an exported encoder, by the few steps that its metadata names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import ImageError, InputError
from ..images.decode import ImageLike, check_list, image_name, open_image
from ..images.levels import Levels
from ..images.limits import MAX_PIXELS
from ..images.patch_order import PatchOrder
from ..images.steps import Steps

_RULES = ("..images.resize", "..images.budgets", "..images.steps")
"""The modules that have the rules of sizes; they are pure arithmetic."""


@dataclass(frozen=True)
class ImageSteps:
    """Resizes images, crops their centres, looks their pixels up and lays them out as patches.

    Attributes:
        rule: Gives the size to which an image is resized; None if it is not.
        resample: Pillow's filter for that.
        crop: Width and height that are cut out of the centre afterwards; None for all.
        levels: The image processor's arithmetic, and the order of patches.
    """

    rule: Any
    resample: int
    crop: tuple[int, int] | None
    levels: Levels

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> ImageSteps:
        """Read what :meth:`described` wrote.

        Raises:
            InputError: If the metadata says that there are no such steps.
        """
        if "refused" in metadata:
            raise InputError(metadata["refused"])
        rule = None
        if (described := metadata["rule"]) is not None:
            name, fields = described["name"], described["fields"]
            modules = (import_module(module, __package__) for module in _RULES)
            rule = next(getattr(module, name) for module in modules if hasattr(module, name))(
                **{key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
            )
        order = metadata["order"] and PatchOrder(
            **{**metadata["order"], "row": tuple(metadata["order"]["row"])}
        )
        crop = metadata["crop"] and tuple(metadata["crop"])
        table = np.asarray(metadata["levels"], dtype=np.float32)
        return cls(rule, metadata["resample"], crop, Levels(table, order))

    def described(self) -> dict[str, Any]:
        """Return the steps as JSON-ready values."""
        order = self.levels.order
        rule = None if self.rule is None else {"name": type(self.rule).__name__, "fields": asdict(self.rule)}
        return {
            "rule": rule,
            "resample": int(self.resample),
            "crop": self.crop,
            "order": None if order is None else asdict(order),
            "levels": self.levels.table.tolist(),
        }

    def __call__(self, images: Sequence[ImageLike]) -> dict[str, Tensor]:
        """Make the inputs of a batch; errors as ``ExportedTower.make_inputs``."""
        check_list(images)
        names = [image_name(image, f"image {i}") for i, image in enumerate(images)]
        pixels = [
            self._pixels(open_image(image, name=name), name)
            for image, name in zip(images, names, strict=True)
        ]
        order = self.levels.order
        if order is None:
            if len({each.shape for each in pixels}) > 1:
                raise InputError(
                    "these images keep different sizes, which make no batch; bring them one by one"
                )
            return self.levels({"pixel_values": torch.from_numpy(np.stack(pixels))})
        rows = [order.patchify(each) for each in pixels]
        grids = torch.tensor([(1, height, width) for _, height, width in rows])
        joined = torch.from_numpy(np.concatenate([row for row, _, _ in rows]))
        return {**self.levels({"pixel_values": joined}), "image_grid_thw": grids}

    def _pixels(self, image: Image.Image, name: str) -> Any:
        """Return one image's pixels, (channels, height, width) uint8."""
        if len(self.levels.table) == 1:
            image = image.convert("L")
        try:
            size = self._size(image)
        except (ValueError, ArithmeticError) as error:
            raise ImageError(name, f"cannot be preprocessed: {error}") from error
        if size[0] * size[1] > MAX_PIXELS:
            raise ImageError(name, f"it would be resized to {size[0]}x{size[1]} pixels, more than the limit")
        if size != image.size:
            image = image.resize(size, self.resample)
        if self.crop is not None:
            image = _centre(image, *self.crop)
        array = np.asarray(image)
        return array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))

    def _size(self, image: Image.Image) -> tuple[int, int]:
        if self.rule is None:
            return image.size
        rule = self.rule.resized if isinstance(self.rule, Steps) else self.rule
        size: tuple[int, int] = rule(*image.size)
        return size


def _centre(image: Image.Image, width: int, height: int) -> Image.Image:
    """Cut the centre out; what is smaller is padded with black, the odd pixel in front."""
    left, top = (_first(own, wanted) for own, wanted in zip(image.size, (width, height), strict=True))
    return image.crop((left, top, left + width, top + height))


def _first(own: int, wanted: int) -> int:
    return (own - wanted) // 2
