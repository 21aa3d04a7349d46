"""Inputs of a tower out of images, through transformers' own image processors.

An image is read on the CPU: decoded, resized, cropped and padded by Pillow, as 8-bit pixels. What is left,
the processor's arithmetic, is done on the tower's device, for all images of a batch at once.

Importing this module loads Pillow but not torch; what needs torch imports it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..errors import InputError
from .decode import Clip, ImageLike
from .pixels import split_processor
from .processors import process_dense, process_ragged
from .reading import Arrays, ImageReader, Reader

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers.image_processing_backends import PilBackend

    from .levels import Levels
    from .resize import ResizeRule
    from .settings import ProcessorSettings

Read: TypeAlias = "Mapping[str, np.ndarray[Any, Any] | Tensor]"
"""What a reader made of an image, or the inputs of a batch of it alone."""


class Preprocessor(ABC):
    """Images to the inputs of an encoder.

    Calling it is :meth:`read` and then :meth:`finish` on the CPU. The two are apart for whoever reads images
    in other threads or processes: what is read is a quarter of what is finished, or an eighth where patches
    are repeated for the frames of a clip.

    Attributes:
        reader: Does what needs the CPU. Another process is given the reader alone.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    @property
    def takes_clips(self) -> bool:
        """Whether a list of frames is a clip; otherwise it is refused."""
        return self.reader.takes_clips

    def __call__(self, images: Sequence[ImageLike | Clip], *, first: int = 0) -> dict[str, Tensor]:
        """Preprocess images.

        Args:
            images: Paths, PIL images, or uint8 arrays (height, width[, channels]); clips as lists of these.
            first: What the first image without a path counts as in errors.

        Returns:
            The inputs of a batch on the CPU; ``pixel_values`` are float32.

        Raises:
            ImageError: If an image cannot be read or resized; names it.
            InputError: If there are no images or it is no list of them, they make no batch, or the tower's
                channels are not colours.
        """
        return self.finish(self.read(images, first=first))

    def read(self, images: Sequence[ImageLike | Clip], *, first: int = 0) -> list[Arrays]:
        """Do what needs the CPU: decode images and resize them. Threads may do so at once.

        Arguments and errors are those of calling a :class:`~vision_composer.images.reading.Reader`.

        Returns:
            For each image what :meth:`finish` takes: the inputs of a batch of it alone, but ``pixel_values``
            are uint8 and without the processor's arithmetic; patches of a clip's frames are there once. Of a
            processor that cannot be split they are float32 and done.
        """
        return self.reader(images, first=first)

    @abstractmethod
    def finish(self, images: Sequence[Read], device: str | torch.device = "cpu") -> dict[str, Tensor]:
        """Make a batch of images that were read.

        Args:
            images: What :meth:`read` returned for each.
            device: Where pixels are computed.

        Returns:
            The inputs of the batch: ``pixel_values`` on ``device``, float32; grids and masks on the CPU.

        Raises:
            InputError: If the images make no batch.
        """

    @abstractmethod
    def share(self, one: Read, other: Read) -> bool:
        """Return whether two images that were read can be in one batch."""

    def num_values(self, image: Read) -> int:
        """Count the values of all pixels that were read of an image."""
        return prod(image["pixel_values"].shape)


class ImagePreprocessor(Preprocessor):
    """Images to the inputs of a tower, under the names that the family's image processor gives them.

    Args:
        reader: Makes an image's inputs, as far as the CPU does.
        processor: The image processor: resizes and normalises.
        levels: The processor's arithmetic; None for one that cannot be split, which does all in ``read``.
    """

    reader: ImageReader

    def __init__(self, reader: ImageReader, processor: PilBackend, levels: Levels | None) -> None:
        super().__init__(reader)
        self.processor = processor
        self.levels = levels

    def finish(self, images: Sequence[Read], device: str | torch.device = "cpu") -> dict[str, Tensor]:

        batches = [{name: _tensor(array) for name, array in image.items()} for image in images]
        # Padding between images of different sizes is zero behind the arithmetic, not before.
        kinds = {(batch["pixel_values"].shape[1:], batch["pixel_values"].dtype) for batch in batches}
        if len(kinds) == 1:
            return self._computed(self.collate(batches), device)
        return self.collate([self._computed(batch, device) for batch in batches])

    def _computed(self, batch: Mapping[str, Tensor], device: str | torch.device) -> dict[str, Tensor]:
        import torch

        # Grids and masks stay where the tower reads them: for those on a device, the host would wait.
        moved = {**batch, "pixel_values": batch["pixel_values"].to(device)}
        if self.levels is not None and moved["pixel_values"].dtype == torch.uint8:
            return self.levels(moved)
        return {**moved, "pixel_values": moved["pixel_values"].float()}

    @abstractmethod
    def collate(self, batches: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Join batches into one.

        Raises:
            InputError: If they make no batch.
        """


class DensePreprocessor(ImagePreprocessor):
    """Images to the pixel batch of a dense tower: ``pixel_values`` (images, channels, height, width).

    Args:
        reader: Makes an image's inputs, as far as the CPU does.
        processor: The image processor.
        levels: Its arithmetic, or None.
        size: Side in pixels of the one size that the tower takes; None for one of any size.
    """

    def __init__(
        self, reader: ImageReader, processor: PilBackend, levels: Levels | None, *, size: int | None = None
    ) -> None:
        super().__init__(reader, processor, levels)
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
        if channels != self.reader.num_channels or (
            self.size is not None and (height, width) != (self.size,) * 2
        ):
            raise InputError(
                f"the image processor makes {channels} channels of {width}x{height} pixels, which this tower "
                "does not take: the checkpoint's processor config is not the tower's"
            )
        return {"pixel_values": torch.cat(pixels) if len(pixels) > 1 else pixels[0]}

    def share(self, one: Read, other: Read) -> bool:
        return tuple(one["pixel_values"].shape[1:]) == tuple(other["pixel_values"].shape[1:])


class RaggedPreprocessor(ImagePreprocessor):
    """Images to the inputs of a tower that takes each at a size of its own."""

    def collate(self, batches: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Join batches into one: rows of patches one after the other, images padded to the largest."""
        return {name: _join([batch[name] for batch in batches]) for name in batches[0]}

    def share(self, one: Read, other: Read) -> bool:
        return True


def dense_preprocessor(
    settings: ProcessorSettings, resize: ResizeRule, num_channels: int, size: int | None
) -> DensePreprocessor:
    """Make the preprocessor of a dense tower.

    Args:
        settings: The image processor and its values.
        resize: The sizes it will choose.
        num_channels: Colour channels of the tower: 3, or 1 for one that takes grey.
        size: Side in pixels of the one size that the tower takes; None for one of any size.

    Raises:
        WeightsError: If the settings do not work.
        MissingDependencyError: If the installed transformers has the class for another library only.
    """
    channels = num_channels if num_channels in (1, 3) else 3
    split = split_processor(
        settings, resize, partial(process_dense, num_channels=channels), num_channels=channels
    )
    reader = ImageReader(split.read, resize, num_channels=num_channels, grey=True)
    return DensePreprocessor(reader, split.processor, split.levels, size=size)


def ragged_preprocessor(
    settings: ProcessorSettings, resize: ResizeRule, num_channels: int
) -> RaggedPreprocessor:
    """Make the preprocessor of a tower that takes each image at a size of its own.

    Arguments and errors as for :func:`dense_preprocessor`.
    """
    split = split_processor(settings, resize, process_ragged)
    reader = ImageReader(split.read, resize, num_channels=num_channels)
    return RaggedPreprocessor(reader, split.processor, split.levels)


def _tensor(array: np.ndarray[Any, Any] | Tensor) -> Tensor:
    import torch

    return torch.from_numpy(array) if isinstance(array, np.ndarray) else array


def _join(parts: Sequence[Tensor]) -> Tensor:
    """Tensors one after the other on the first axis, padded with zeros at the end of the others."""
    import torch
    from torch.nn.functional import pad

    if len(parts) == 1:
        return parts[0]
    largest = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    padded = []
    for part in parts:
        missing = [size - own for size, own in zip(largest, part.shape[1:], strict=True)]
        # torch wants the last axis first, and what goes in front of each.
        padded.append(pad(part, [n for m in reversed(missing) for n in (0, m)]) if any(missing) else part)
    return torch.cat(padded)
