"""How an image processor lays an image out as rows, one for each patch, while pixels are 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np

Pixels: TypeAlias = "np.ndarray[Any, Any]"


@dataclass(frozen=True)
class PatchOrder:
    """The order that a processor's ``patchify`` gives pixels, for processors that have one.

    It turns pixels into floats and repeats each patch for every frame of a clip, at eight times the bytes.

    Attributes:
        patch_size: Side of a patch in pixels.
        merge_size: Patches along a side of a square that a tower merges.
        frames: How often a patch is repeated.
        squares: Patches stand square by square; else row by row.
        channels_last: The channels of a pixel stand together, and each value is repeated for every frame;
            else a channel's pixels stand together, and are repeated as a whole.
        row: Shape of a patch as the processor returns it.
    """

    patch_size: int
    merge_size: int
    frames: int
    squares: bool
    channels_last: bool
    row: tuple[int, ...]

    @classmethod
    def of(cls, processor: Any) -> PatchOrder | None:
        """Find the order of a processor that has a ``patchify`` by what that makes of a small image.

        None if it is none of those that are known.
        """
        patch, merge, frames = processor.patch_size, processor.merge_size, processor.temporal_patch_size
        # At least two squares each way, or some orders could not be told apart.
        shape = (3, 2 * merge * patch, 3 * merge * patch)
        image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        wanted, *_ = processor.patchify(image, patch_size=patch, merge_size=merge, temporal_patch_size=frames)
        for squares, last in product((True, False), repeat=2):
            order = cls(patch, merge, frames, squares, last, wanted.shape[1:])
            rows = order.rows(image)
            runs = rows.reshape(len(rows), -1, *((3, 1) if last else (1, patch**2)))
            if np.array_equal(np.repeat(runs, frames, axis=3 if last else 2).reshape(wanted.shape), wanted):
                return order
        return None

    def rows(self, image: Pixels) -> Pixels:
        """Return an image (channels, height, width) as a row for each patch, without repetition."""
        channels, height, width = image.shape
        side, merge = self.patch_size, self.merge_size
        down, across = (length // (side * merge) for length in (height, width))
        cut = image.reshape(channels, down, merge, side, across, merge, side)
        patches = (1, 4, 2, 5) if self.squares else (1, 2, 4, 5)
        pixels = (3, 6, 0) if self.channels_last else (0, 3, 6)
        return cut.transpose(*patches, *pixels).reshape(-1, channels * side**2)

    def patchify(self, image: Pixels, **_: Any) -> tuple[Pixels, int, int]:
        """Stand in for a processor's method: return the rows, and rows and columns of patches."""
        return self.rows(image), image.shape[1] // self.patch_size, image.shape[2] // self.patch_size
