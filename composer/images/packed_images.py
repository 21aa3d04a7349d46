"""Inputs of a packed tower out of pictures of any size, through transformers' own image processors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ..errors import ImageError, InputError
from .decode import ImageLike, image_name, open_image
from .preprocess import ImagePreprocessor, check_area

if TYPE_CHECKING:
    from torch import Tensor
    from transformers.image_processing_backends import PilBackend

    from .resize import ResizeRule


class PackedImagePreprocessor(ImagePreprocessor):
    """Pictures to the inputs of a packed tower.

    Args:
        processor: Resizes and normalises.
        resize: The sizes it will choose.
        num_channels: Colour channels of the tower.
    """

    def __init__(self, processor: PilBackend, resize: ResizeRule, *, num_channels: int = 3) -> None:
        super().__init__(processor, num_channels=num_channels)
        self.resize = resize

    def __call__(self, images: Sequence[ImageLike], *, first: int = 0) -> dict[str, Tensor]:
        """Preprocess pictures.

        Args:
            images: Paths, PIL images, or uint8 arrays (height, width[, channels]).
            first: What the first picture without a path counts as in errors.

        Returns:
            What the family's image processor returns, under its names; pixels are float32.

        Raises:
            ImageError: A picture that cannot be read or resized; names it.
            InputError: No pictures, or a tower whose channels are not colours.
        """
        if self.num_channels != 3:
            raise InputError(
                f"a packed tower of {self.num_channels} channels takes no pictures; call it with pixel_values"
            )
        if len(images) == 0:
            raise InputError("no pictures to preprocess")
        return self.collate(
            [self._inputs(image, image_name(image, f"image {i}")) for i, image in enumerate(images, first)]
        )

    def collate(self, batches: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Join batches into one: rows of patches one after the other, images padded to the largest."""
        return {name: _join([batch[name] for batch in batches]) for name in batches[0]}

    def _inputs(self, image: ImageLike, label: str) -> dict[str, Tensor]:
        import torch

        picture = open_image(image, name=label)
        try:
            arrays = _process(self.processor, self.resize, picture)
        except Exception as error:  # a processor fails on shapes in many ways
            raise ImageError(label, f"cannot be preprocessed: {error}") from error
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _join(parts: Sequence[Tensor]) -> Tensor:
    """Tensors one after the other on the first axis, padded with zeros at the end of the others."""
    import torch
    from torch.nn.functional import pad

    largest = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    padded = []
    for part in parts:
        missing = [size - own for size, own in zip(largest, part.shape[1:], strict=True)]
        # torch wants the last axis first, and what goes in front of each.
        padded.append(pad(part, [n for m in reversed(missing) for n in (0, m)]) if any(missing) else part)
    return torch.cat(padded)


def try_out(resize_rule: Callable[[Any], ResizeRule]) -> Callable[[PilBackend], None]:
    """A function that processes one picture, to find out now rather than at the first of a million."""

    def attempt(processor: PilBackend) -> None:
        arrays = _process(processor, resize_rule(processor), Image.new("RGB", (64, 48)))
        if not np.isfinite(arrays["pixel_values"]).all():
            raise ValueError("the pixels come out as NaN or infinity; is image_std zero?")

    return attempt


def _process(processor: Any, resize: ResizeRule, picture: Image.Image) -> dict[str, np.ndarray[Any, Any]]:
    width, height = resize(*picture.size)
    check_area(height, width)
    with np.errstate(all="ignore"):
        output = processor(picture, return_tensors="np")
    arrays = {name: np.asarray(array) for name, array in output.items()}
    arrays["pixel_values"] = arrays["pixel_values"].astype(np.float32, copy=False)
    return arrays
