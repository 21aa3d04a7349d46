"""Inputs of a tower out of images, through transformers' own image processors.

Importing this module loads Pillow but not torch; what needs torch imports it.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ..errors import ImageError, InputError
from .decode import ImageLike, image_name, open_image
from .processors import Arrays, load_image_processor, process_dense, process_ragged

if TYPE_CHECKING:
    from torch import Tensor
    from transformers.image_processing_backends import PilBackend

    from .resize import ResizeRule
    from .settings import ProcessorSettings


class ImagePreprocessor(ABC):
    """Images to the inputs of a tower, under the names that the family's image processor gives them.

    Args:
        processor: Resizes and normalises.
        num_channels: Colour channels of the tower.
        resize: The sizes it will choose.
    """

    def __init__(self, processor: PilBackend, resize: ResizeRule, *, num_channels: int = 3) -> None:
        self.processor = processor
        self.resize = resize
        self.num_channels = num_channels

    def __call__(self, images: Sequence[ImageLike], *, first: int = 0) -> dict[str, Tensor]:
        """Preprocess images.

        Args:
            images: Paths, PIL images, or uint8 arrays (height, width[, channels]).
            first: What the first image without a path counts as in errors.

        Returns:
            The inputs of a batch on the CPU; ``pixel_values`` are float32.

        Raises:
            ImageError: If an image cannot be read or resized; names it.
            InputError: If there are no images or it is no list of them, they make no batch, or the tower's
                channels are not colours.
        """
        self._check_channels()
        if isinstance(images, (str, os.PathLike, np.ndarray, Image.Image)):
            raise InputError("expected a list of images; for one image write [image]")
        if len(images) == 0:
            raise InputError("no images to preprocess")
        return self.collate(
            [self._inputs(image, image_name(image, f"image {i}")) for i, image in enumerate(images, first)]
        )

    @abstractmethod
    def collate(self, batches: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Join batches into one.

        Raises:
            InputError: If they make no batch.
        """

    @abstractmethod
    def share(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
        """Return whether two batches can be joined."""

    @abstractmethod
    def _check_channels(self) -> None:
        """Refuse images for a tower whose channels are not colours."""

    @abstractmethod
    def _arrays(self, image: Image.Image) -> Arrays:
        """Return the inputs of one RGB image."""

    def _inputs(self, image: ImageLike, label: str) -> dict[str, Tensor]:
        import torch

        opened = open_image(image, name=label)
        try:
            arrays = self._arrays(opened)
        except Exception as error:  # a processor fails on shapes in many ways
            raise ImageError(label, f"cannot be preprocessed: {error}") from error
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


class DensePreprocessor(ImagePreprocessor):
    """Images to the pixel batch of a dense tower: ``pixel_values`` (images, channels, height, width).

    Args:
        processor: Resizes, crops and normalises.
        resize: The sizes it will choose.
        num_channels: Colour channels of the tower: 3, or 1 for one that takes grey.
        size: Side in pixels of the one size that the tower takes; None for one of any size.
    """

    def __init__(
        self, processor: PilBackend, resize: ResizeRule, *, num_channels: int = 3, size: int | None = None
    ) -> None:
        super().__init__(processor, resize, num_channels=num_channels)
        self.size = size

    def collate(self, batches: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        import torch

        pixels = [batch["pixel_values"] for batch in batches]
        shapes = {tuple(tensor.shape[1:]) for tensor in pixels}
        if len(shapes) > 1:
            sizes = ", ".join(sorted(f"{width}x{height}" for _, height, width in shapes))
            raise InputError(
                f"this image processor keeps images at different sizes ({sizes}), which make no batch; "
                "encode them one at a time"
            )
        ((channels, height, width),) = shapes
        if channels != self.num_channels or (self.size is not None and (height, width) != (self.size,) * 2):
            raise InputError(
                f"the image processor makes {channels} channels of {width}x{height} pixels, which this tower "
                "does not take: the checkpoint's processor config is not the tower's"
            )
        return {"pixel_values": torch.cat(pixels)}

    def share(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
        return one["pixel_values"].shape[1:] == other["pixel_values"].shape[1:]

    def _check_channels(self) -> None:
        if self.num_channels not in (1, 3):
            raise InputError(
                f"a tower of {self.num_channels} channels takes no images; call it with pixel_values"
            )

    def _arrays(self, image: Image.Image) -> Arrays:
        return process_dense(self.processor, self.resize, image, self.num_channels)


class RaggedPreprocessor(ImagePreprocessor):
    """Images to the inputs of a tower that takes each at a size of its own."""

    def collate(self, batches: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Join batches into one: rows of patches one after the other, images padded to the largest."""
        return {name: _join([batch[name] for batch in batches]) for name in batches[0]}

    def share(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
        return True

    def _check_channels(self) -> None:
        if self.num_channels != 3:
            raise InputError(
                f"a packed tower of {self.num_channels} channels takes no images; call it with pixel_values"
            )

    def _arrays(self, image: Image.Image) -> Arrays:
        return process_ragged(self.processor, self.resize, image)


def dense_preprocessor(
    settings: ProcessorSettings, resize: ResizeRule, num_channels: int, size: int | None
) -> DensePreprocessor:
    """Make the preprocessor of a dense tower; arguments as those of :class:`DensePreprocessor`.

    Raises:
        WeightsError: If the settings do not work.
        MissingDependencyError: If the installed transformers has the class for another library only.
    """

    def process(processor: PilBackend, image: Image.Image) -> Arrays:
        return process_dense(processor, resize, image, num_channels if num_channels in (1, 3) else 3)

    return DensePreprocessor(
        load_image_processor(settings, process), resize, num_channels=num_channels, size=size
    )


def ragged_preprocessor(
    settings: ProcessorSettings, resize: ResizeRule, num_channels: int
) -> RaggedPreprocessor:
    """Make the preprocessor of a tower that takes each image at a size of its own; errors as above."""

    def process(processor: PilBackend, image: Image.Image) -> Arrays:
        return process_ragged(processor, resize, image)

    return RaggedPreprocessor(load_image_processor(settings, process), resize, num_channels=num_channels)


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
