"""Inputs of a tower out of images, through transformers' own image processors.

An image is read on the CPU: decoded, resized, cropped and padded by Pillow, as 8-bit pixels. What is left,
the processor's arithmetic, is done on the tower's device, for all images of a batch at once.

Importing this module loads Pillow but not torch; what needs torch imports it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from PIL import Image

from ..errors import ImageError, InputError
from .decode import Clip, ImageLike, check_list, image_name, open_image
from .pixels import Halves, load_halves
from .processors import Arrays, check_size, process_dense, process_ragged

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from transformers.image_processing_backends import PilBackend

    from .resize import ResizeRule
    from .settings import ProcessorSettings


class Preprocessor(ABC):
    """Images to the inputs of an encoder.

    Calling it is :meth:`read` and then :meth:`finish` on the CPU. The two are apart for whoever reads images
    in other threads or processes: what is read is a quarter of what is finished, or an eighth where patches
    are repeated for the frames of a clip.
    """

    takes_clips: ClassVar[bool] = False
    """Whether a list of frames is a clip; otherwise it is refused."""

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

    def read(self, images: Sequence[ImageLike | Clip], *, first: int = 0) -> list[dict[str, Tensor]]:
        """Do what needs the CPU: decode images and resize them. Threads may do so at once.

        Args:
            images: Paths, PIL images, or uint8 arrays (height, width[, channels]). A clip is a list of its
                frames, or an iterator, whose frames are in memory one at a time.
            first: What the first image without a path counts as in errors.

        Returns:
            For each image what :meth:`finish` takes, on the CPU: the inputs of a batch of it alone, but
            ``pixel_values`` are uint8 and without the processor's arithmetic; patches of a clip's frames are
            there once. Of a processor that cannot be split they are float32 and done.

        Raises:
            ImageError: If an image cannot be read or resized; names it.
            InputError: If there are no images or it is no list of them, the tower's channels are not
                colours, or there are clips for one that takes none.
        """
        self.check_channels()
        check_list(images)
        names = [image_name(image, f"image {i}") for i, image in enumerate(images, first)]
        return [self._read_one(image, name) for image, name in zip(images, names, strict=True)]

    def _read_one(self, image: ImageLike | Clip, name: str) -> dict[str, Tensor]:
        if isinstance(image, (list, tuple, Iterator)):
            return self.read_clip((open_image(frame, name=image_name(frame, name)) for frame in image), name)
        return self.read_opened(open_image(image, name=name), name)

    @abstractmethod
    def read_opened(self, image: Image.Image, label: str) -> dict[str, Tensor]:
        """Do what needs the CPU for one RGB image.

        Args:
            image: The image.
            label: What errors call it.

        Raises:
            ImageError: If it cannot be resized.
        """

    def read_clip(self, frames: Iterable[Image.Image], label: str) -> dict[str, Tensor]:
        """Do what needs the CPU for a clip.

        Args:
            frames: Its frames in RGB; taken one by one.
            label: What errors call it.

        Raises:
            ImageError: If it has no frames, frames of different sizes, or more pixels than ``MAX_PIXELS``.
            InputError: If the tower takes no clips.
        """
        raise InputError("this encoder takes no clips: give it their frames as images")

    @abstractmethod
    def finish(
        self, images: Sequence[Mapping[str, Tensor]], device: str | torch.device = "cpu"
    ) -> dict[str, Tensor]:
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
    def share(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
        """Return whether two batches can be joined."""

    @abstractmethod
    def check_channels(self) -> None:
        """Refuse images for a tower whose channels are not colours.

        Raises:
            InputError: If it is one.
        """

    def pixels(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the pixels among what was read of an image."""
        return [inputs["pixel_values"]]


class ImagePreprocessor(Preprocessor):
    """Images to the inputs of a tower, under the names that the family's image processor gives them.

    Args:
        processor: Resizes and normalises.
        resize: The sizes it will choose.
        num_channels: Colour channels of the tower.
        halves: The processor in two halves; None for one that cannot be split, which does all in ``read``.
    """

    def __init__(
        self,
        processor: PilBackend,
        resize: ResizeRule,
        *,
        num_channels: int = 3,
        halves: Halves | None = None,
    ) -> None:
        self.processor = processor
        self.resize = resize
        self.num_channels = num_channels
        self.halves = halves

    def finish(
        self, images: Sequence[Mapping[str, Tensor]], device: str | torch.device = "cpu"
    ) -> dict[str, Tensor]:
        # Padding between images of different sizes is zero behind the arithmetic, not before.
        kinds = {(image["pixel_values"].shape[1:], image["pixel_values"].dtype) for image in images}
        if len(kinds) == 1:
            return self._computed(self.collate(images), device)
        return self.collate([self._computed(image, device) for image in images])

    def _computed(self, batch: Mapping[str, Tensor], device: str | torch.device) -> dict[str, Tensor]:
        import torch

        # Grids and masks stay where the tower reads them: for those on a device, the host would wait.
        moved = {**batch, "pixel_values": batch["pixel_values"].to(device)}
        if self.halves is not None and moved["pixel_values"].dtype == torch.uint8:
            return self.halves.levels(moved)
        return {**moved, "pixel_values": moved["pixel_values"].float()}

    @abstractmethod
    def collate(self, batches: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Join batches into one.

        Raises:
            InputError: If they make no batch.
        """

    @abstractmethod
    def _process(self, processor: PilBackend, image: Image.Image) -> Arrays:
        """Return the inputs that a processor, whole or without its arithmetic, makes of an RGB image."""

    def _arrays(self, image: Image.Image) -> Arrays:
        """Return the inputs of one RGB image."""
        check_size(self.resize, image)
        if self.num_channels == 1:
            image = image.convert("L")
        if self.halves is None:
            return self._process(self.processor, image)
        return self.halves.read(image, self._process)

    def read_opened(self, image: Image.Image, label: str) -> dict[str, Tensor]:
        import torch

        try:
            with torch.device("cpu"):  # processors make tensors without naming a device
                arrays = self._arrays(image)
        except Exception as error:  # a processor fails on shapes in many ways
            raise ImageError(label, f"cannot be preprocessed: {error}") from error
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


class DensePreprocessor(ImagePreprocessor):
    """Images to the pixel batch of a dense tower: ``pixel_values`` (images, channels, height, width).

    Args:
        processor: Resizes, crops and normalises.
        resize: The sizes it will choose.
        num_channels: Colour channels of the tower: 3, or 1 for one that takes grey.
        halves: The processor in two halves, or None.
        size: Side in pixels of the one size that the tower takes; None for one of any size.
    """

    def __init__(
        self,
        processor: PilBackend,
        resize: ResizeRule,
        *,
        num_channels: int = 3,
        halves: Halves | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__(processor, resize, num_channels=num_channels, halves=halves)
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
        return {"pixel_values": torch.cat(pixels) if len(pixels) > 1 else pixels[0]}

    def share(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
        return one["pixel_values"].shape[1:] == other["pixel_values"].shape[1:]

    def check_channels(self) -> None:
        if self.num_channels not in (1, 3):
            raise InputError(
                f"a tower of {self.num_channels} channels takes no images; call it with pixel_values"
            )

    def _process(self, processor: PilBackend, image: Image.Image) -> Arrays:
        return process_dense(processor, image, self.num_channels)


class RaggedPreprocessor(ImagePreprocessor):
    """Images to the inputs of a tower that takes each at a size of its own."""

    def collate(self, batches: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Join batches into one: rows of patches one after the other, images padded to the largest."""
        return {name: _join([batch[name] for batch in batches]) for name in batches[0]}

    def share(self, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
        return True

    def check_channels(self) -> None:
        if self.num_channels != 3:
            raise InputError(
                f"a tower of {self.num_channels} channels takes no images; call it with pixel_values"
            )

    def _process(self, processor: PilBackend, image: Image.Image) -> Arrays:
        return process_ragged(processor, image)


def dense_preprocessor(
    settings: ProcessorSettings, resize: ResizeRule, num_channels: int, size: int | None
) -> DensePreprocessor:
    """Make the preprocessor of a dense tower; arguments as those of :class:`DensePreprocessor`.

    Raises:
        WeightsError: If the settings do not work.
        MissingDependencyError: If the installed transformers has the class for another library only.
    """
    channels = num_channels if num_channels in (1, 3) else 3
    processor, halves = load_halves(
        settings,
        resize,
        lambda processor, image: process_dense(processor, image, channels),
        num_channels=channels,
    )
    return DensePreprocessor(processor, resize, num_channels=num_channels, halves=halves, size=size)


def ragged_preprocessor(
    settings: ProcessorSettings, resize: ResizeRule, num_channels: int
) -> RaggedPreprocessor:
    """Make the preprocessor of a tower that takes each image at a size of its own.

    Arguments and errors as for :func:`dense_preprocessor`.
    """
    processor, halves = load_halves(settings, resize, process_ragged)
    return RaggedPreprocessor(processor, resize, num_channels=num_channels, halves=halves)


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
