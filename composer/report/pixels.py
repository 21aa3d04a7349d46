"""What a tower sees: the pixels of a batch, behind all resizing, cropping, padding and cutting, as images.

Families keep pixels in forms of their own. How a tower's form is read shows in what becomes of images of one
colour, so nothing here knows a family.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..encoders.batch import Batch
from ..encoders.facts import Grid, VisionEncoderInfo

Picture: TypeAlias = "npt.NDArray[np.uint8]"
"""(height, width, 3), in RGB."""
Prepare: TypeAlias = Callable[[Image.Image], Batch]
"""Makes a tower's batch of one image."""

_LARGEST_TRIAL = 448
_COLOURS = ("black", "white", "red", "lime", "blue")


@dataclass(frozen=True)
class PixelReader:
    """Reads the images of a tower's batches.

    Attributes:
        info: Facts about the tower.
        black: What black is in each channel, (channels,).
        white: What white is.
        order: Of towers that take rows of patches: the values of a row in the order channel, row, column,
            frame. None for towers that take images.
    """

    info: VisionEncoderInfo
    black: npt.NDArray[Any]
    white: npt.NDArray[Any]
    order: npt.NDArray[Any] | None = None

    @classmethod
    def of(cls, info: VisionEncoderInfo, prepare: Prepare) -> Self:
        """Find out how a tower's pixels are to be read, by images of one colour and one of noise.

        Args:
            info: Facts about the tower.
            prepare: Makes the tower's batch of an image.
        """
        side = min(max(info.image_size, 2 * info.patch_size), _LARGEST_TRIAL)
        made = [prepare(Image.new("RGB", (side, side), colour)) for colour in _COLOURS]
        if _images(made[0], info) is not None:
            black, white = (_middle(batch, info) for batch in made[:2])
            return cls(info, black, white)
        dark, bright, *primaries = (_rows(batch, info)[0] for batch in made)
        channels = np.argmax([(one - dark) / (bright - dark) for one in primaries], axis=0)
        noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
        row = _rows(prepare(Image.fromarray(noise)), info)[0]
        order = _order(row, channels, info)
        first = order[:, 0, 0, 0]
        return cls(info, dark[first], bright[first], order)

    def planes(self, batch: Batch) -> list[Picture]:
        """Return what a tower sees of the images of a batch, as far as it fills patches.

        Where an image has several frames or tiles of its own, each is a picture; of frames that share a patch
        it is the first.
        """
        images = _images(batch, self.info)
        found = []
        if images is not None:
            for grid, image in zip(batch.grids, images, strict=True):
                height, width = (length * self.info.patch_size for length in grid[1:])
                found += [self._picture(plane[:, :height, :width]) for plane in image[: grid[0]]]
            return found
        assert self.order is not None
        side, start, rows = self.info.patch_size, 0, _rows(batch, self.info)
        for grid in batch.grids:
            frames, down, across = grid
            own = rows[start : start + prod(grid)]
            start += prod(grid)
            patches = raster(own, grid, self.info)[..., self.order[..., 0].reshape(-1)]
            cut = patches.reshape(frames, down, across, -1, side, side).transpose(0, 3, 1, 4, 2, 5)
            found += [self._picture(plane) for plane in cut.reshape(frames, -1, down * side, across * side)]
        return found

    def _picture(self, plane: npt.NDArray[Any]) -> Picture:
        black, white = (level[:, None, None] for level in (self.black, self.white))
        levels = np.clip((plane - black) / (white - black), 0, 1) * 255
        picture: Picture = np.rint(levels).astype(np.uint8).transpose(1, 2, 0)
        return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture[..., :3]


def raster(rows: npt.NDArray[Any], grid: Grid, info: VisionEncoderInfo) -> npt.NDArray[Any]:
    """Return what stands in the order of a tower's patches (patches, width) frame after frame, row by row.

    Args:
        rows: Of one image.
        grid: Its frames (or tiles), rows and columns of patches.
        info: Facts about the tower.

    Returns:
        (frames, rows x columns, width).
    """
    frames, down, across = grid
    side, width = info.patch_square, rows.shape[-1]
    squares = rows.reshape(frames, down // side, across // side, side, side, width)
    return squares.transpose(0, 1, 3, 2, 4, 5).reshape(frames, down * across, width)


def _images(batch: Batch, info: VisionEncoderInfo) -> npt.NDArray[Any] | None:
    """Return pixels as (images, frames, channels, height, width); None if they are rows of patches."""
    pixels = batch.pixels.float().cpu().numpy()
    if pixels.ndim == 5:
        return pixels
    whole = pixels.ndim == 4 and pixels.shape[:2] == (len(batch.grids), info.num_channels)
    return pixels[:, None] if whole else None


def _rows(batch: Batch, info: VisionEncoderInfo) -> npt.NDArray[Any]:
    """Return pixels that come as patches as one row of values for each."""
    pixels: npt.NDArray[Any] = batch.pixels.float().cpu().numpy()
    return pixels.reshape(sum(map(prod, batch.grids)), -1)


def _middle(batch: Batch, info: VisionEncoderInfo) -> npt.NDArray[Any]:
    """Return the value of every channel in the middle of the first image, where nothing is padded."""
    images = _images(batch, info)
    assert images is not None
    _, down, across = batch.grids[0]
    middle: npt.NDArray[Any] = images[0, 0, :, down * info.patch_size // 2, across * info.patch_size // 2]
    return middle


def _order(row: npt.NDArray[Any], channels: npt.NDArray[Any], info: VisionEncoderInfo) -> npt.NDArray[Any]:
    """Return which values of a patch are which, (channels, rows, columns, frames).

    Args:
        row: The values of a patch of a still image of noise, whose frames are equal.
        channels: The channel of each.
        info: Facts about the tower.
    """
    side, frames = info.patch_size, len(row) // (info.num_channels * info.patch_size**2)
    order = []
    for channel in range(info.num_channels):
        own = np.flatnonzero(channels == channel)
        # A pixel's frames stand together, or each frame's pixels do.
        together = own.reshape(-1, frames)
        if not (row[together] == row[together[:, :1]]).all():
            together = own.reshape(frames, -1).T
        order.append(together.reshape(side, side, frames))
    return np.stack(order)
