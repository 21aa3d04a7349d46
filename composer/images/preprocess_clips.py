"""Clips to the inputs of a tower that takes several frames. Importing this module loads no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL import Image

from ..errors import ImageError, InputError
from .limits import MAX_PIXELS
from .preprocess import RaggedPreprocessor, Read
from .processors import process_ragged, trial_image
from .reading import Arrays, ImageReader, ReadImage

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .preprocess import ImagePreprocessor
    from .resize import ResizeRule


class ClipReader(ImageReader):
    """Images and clips to rows of patches, with ``image_grid_thw``.

    Args:
        read: Makes the inputs of an image.
        resize: The sizes to which images are resized.
        num_channels: Colour channels of the tower.
        temporal_patch_size: Frames in a patch.
    """

    takes_clips: ClassVar[bool] = True

    def __init__(
        self, read: ReadImage, resize: ResizeRule, *, num_channels: int, temporal_patch_size: int
    ) -> None:
        super().__init__(read, resize, num_channels=num_channels)
        self.temporal_patch_size = temporal_patch_size

    def clip(self, frames: Iterable[Image.Image], label: str) -> Arrays:
        """Read the frames of a clip, one after the other.

        Returns:
            ``pixel_values`` of all frames' patches, frame after frame, and ``image_grid_thw``, (1, 3), of the
            patches that they become: a row for every frame that a patch will have.
        """
        read: list[Arrays] = []
        num_pixels = 0
        for frame in frames:
            read.append(self.opened(frame, label))
            if not np.array_equal(read[0]["image_grid_thw"], read[-1]["image_grid_thw"]):
                raise ImageError(label, "its frames are of different sizes")
            num_pixels += prod(self.resize(*frame.size))
            if num_pixels > MAX_PIXELS:
                raise ImageError(
                    label,
                    f"its frames have more than {MAX_PIXELS:,} pixels together, the limit; take fewer",
                )
        if not read:
            raise ImageError(label, "a clip without frames")
        read += read[-1:] * (-len(read) % self.temporal_patch_size)
        grid = read[0]["image_grid_thw"].copy()
        grid[0, 0] = len(read) // self.temporal_patch_size
        return {
            "pixel_values": np.concatenate([frame["pixel_values"] for frame in read]),
            "image_grid_thw": grid,
        }


class ClipPreprocessor(RaggedPreprocessor):
    """Images and clips to rows of patches, with ``image_grid_thw``.

    Every frame of a clip goes through the image processor as an image does. Where a patch has several
    frames, those that follow each other share it, and the last frame fills the last patches up.

    Args:
        images: Makes the inputs of an image.
        temporal_patch_size: Frames in a patch.
    """

    def __init__(self, images: ImagePreprocessor, temporal_patch_size: int) -> None:
        own = images.reader
        reader = ClipReader(
            own.read, own.resize, num_channels=own.num_channels, temporal_patch_size=temporal_patch_size
        )
        super().__init__(reader, images.processor, images.levels)
        self.temporal_patch_size = temporal_patch_size

    def finish(self, images: Sequence[Read], device: str | torch.device = "cpu") -> dict[str, Tensor]:
        if not any(map(_is_apart, images)):
            return super().finish(images, device)
        finished = [super(ClipPreprocessor, self).finish([image], device) for image in images]
        return self.collate([self._joined(image) if _is_apart(image) else image for image in finished])

    def _joined(self, clip: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Join the patches of frames, of which each row has a copy for every frame of a patch."""
        import torch

        pixels, number = clip["pixel_values"], self.temporal_patch_size
        patches = int(clip["image_grid_thw"][0, 1:].prod())
        shape, axis = self._row
        apart = pixels.reshape(-1, number, patches, *shape)
        of_frames = [apart[:, frame].select(axis + 1, 0) for frame in range(number)]
        return {**clip, "pixel_values": torch.stack(of_frames, axis + 1).view(-1, *pixels.shape[1:])}

    @cached_property
    def _row(self) -> tuple[tuple[int, ...], int]:
        """Axes of a patch that the processor makes, and which of them are its frames.

        Where the frames are shows in an image, whose patches have a copy of it for each.
        """
        rows = process_ragged(self.processor, trial_image())["pixel_values"]
        frames, channels = self.temporal_patch_size, self.reader.num_channels
        for shape, axis in (((channels, frames, -1), 2), ((frames, -1), 1), ((-1, frames), 2)):
            copies = rows.reshape(len(rows), *shape)
            if (copies == copies.take([0], axis)).all():
                return copies.shape[1:], axis
        raise InputError("this encoder's image processor repeats patches in a way that is not known here")


def _is_apart(image: Mapping[str, Any]) -> bool:
    """Whether patches of a clip's frames are there one by one, which a patch of the tower shall have."""
    return len(image["pixel_values"]) > int(image["image_grid_thw"].prod(1).sum())
