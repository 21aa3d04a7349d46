"""Images read on the CPU: decoded by Pillow, resized, cropped and padded, as 8-bit pixels.

Loads Pillow and numpy. What steps of an image need beside that, such as transformers, they bring along, so a
process that only reads images starts quickly where Pillow takes all steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np
from PIL import Image

from ..errors import ImageError, InputError
from .decode import Clip, ImageLike, check_list, image_name, open_image
from .limits import MAX_PIXELS
from .steps import Steps

if TYPE_CHECKING:
    from .resize import ResizeRule

Arrays: TypeAlias = dict[str, "np.ndarray[Any, Any]"]

ReadImage: TypeAlias = Callable[[Image.Image], Arrays]
"""Makes the inputs of an image, as far as they are made on the CPU; can be pickled."""

_MAX_SIZE = 1 << 23
"""Most pixels that an image is resized to for a batch of one size: 2,896 x 2,896, far more than any encoder
takes, and 100 MB as float32."""


class Reader(ABC):
    """Images to what a preprocessor finishes. It can be pickled, and threads may read at once."""

    takes_clips: ClassVar[bool] = False
    """Whether a list of frames is a clip; otherwise it is refused."""

    def __call__(self, images: Sequence[ImageLike | Clip], *, first: int = 0) -> list[Arrays]:
        """Read images.

        Args:
            images: Paths, PIL images, or uint8 arrays (height, width[, channels]). A clip is a list of its
                frames, or an iterator, whose frames are in memory one at a time.
            first: What the first image without a path counts as in errors.

        Raises:
            ImageError: If an image cannot be read or resized; names it.
            InputError: If there are no images or it is no list of them, the tower's channels are not
                colours, or there are clips for one that takes none.
        """
        self.check_channels()
        check_list(images)
        names = [image_name(image, f"image {i}") for i, image in enumerate(images, first)]
        return [self._read(image, name) for image, name in zip(images, names, strict=True)]

    def _read(self, image: ImageLike | Clip, name: str) -> Arrays:
        if isinstance(image, (list, tuple, Iterator)):
            return self.clip((open_image(frame, name=image_name(frame, name)) for frame in image), name)
        return self.opened(open_image(image, name=name), name)

    @abstractmethod
    def opened(self, image: Image.Image, label: str) -> Arrays:
        """Read an RGB image.

        Args:
            image: The image.
            label: What errors call it.

        Raises:
            ImageError: If it cannot be resized.
        """

    def clip(self, frames: Iterable[Image.Image], label: str) -> Arrays:
        """Read a clip.

        Args:
            frames: Its frames in RGB; taken one by one.
            label: What errors call it.

        Raises:
            ImageError: If it has no frames, frames of different sizes, or more pixels than ``MAX_PIXELS``.
            InputError: If the tower takes no clips.
        """
        raise InputError("this encoder takes no clips: give it their frames as images")

    @abstractmethod
    def check_channels(self) -> None:
        """Refuse images for a tower whose channels are not colours.

        Raises:
            InputError: If it is one.
        """


class ImageReader(Reader):
    """Images to the inputs of a tower, under the names that the family's image processor gives them.

    Args:
        read: Makes the inputs of an image of the tower's channels.
        resize: The sizes to which images are resized.
        num_channels: Colour channels of the tower.
        grey: Whether it may be one that takes grey.
    """

    def __init__(
        self, read: ReadImage, resize: ResizeRule, *, num_channels: int = 3, grey: bool = False
    ) -> None:
        self.read = read
        self.resize = resize
        self.num_channels = num_channels
        self.grey = grey

    def opened(self, image: Image.Image, label: str) -> Arrays:
        try:
            return self.arrays(image)
        except Exception as error:  # a processor fails on shapes in many ways
            raise ImageError(label, f"cannot be preprocessed: {error}") from error

    def arrays(self, image: Image.Image) -> Arrays:
        """Return the inputs of an RGB image.

        Raises:
            Exception: Whatever is raised by what reads it.
        """
        check_size(self.resize, image)
        return self.read(image.convert("L") if self.num_channels == 1 else image)

    def check_channels(self) -> None:
        if self.num_channels not in ((1, 3) if self.grey else (3,)):
            raise InputError(
                f"a tower of {self.num_channels} channels takes no images; call it with pixel_values"
            )


def check_size(resize: ResizeRule, image: Image.Image) -> None:
    """Refuse before resizing what would become too large: a thin strip by its shortest edge, odd settings.

    Raises:
        ValueError: If the image would be resized to too many pixels.
        InputError: If the processor refuses an image of its size.
    """
    if not isinstance(resize, Steps):
        width, height = resize(*image.size)
        _check_area(height, width, MAX_PIXELS)
        return
    (width, height), *later = resize.sizes(*image.size)
    _check_area(height, width, MAX_PIXELS)
    for size in later:
        if size != image.size:
            _check_area(size[1], size[0], _MAX_SIZE)


def _check_area(height: int, width: int, limit: int) -> None:
    """Refuse a size to resize to that memory should not be spent on."""
    if height * width > limit:
        raise ValueError(
            f"it would be resized to {max(height, width)}x{min(height, width)} pixels, more than the limit "
            f"of {limit:,}"
        )
