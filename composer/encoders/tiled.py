"""Batches of images that are cut into tiles and padded to the largest number of tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import TYPE_CHECKING, Self

from .batch import NumTokens, StackedBatch, take_rows
from .facts import Grid

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class TileBatch(StackedBatch):
    """Images as tiles, without the images that only pad a batch.

    Attributes:
        pixels: (images, tiles, channels, height, width).
        aspect_ratio_ids: (images, 1) int64 on the CPU: the arrangement of each image's tiles.
        valid: (images, tiles) bool on the CPU: False marks padding tiles.
        side: Patches along one side of a tile.
    """

    pixels: Tensor
    aspect_ratio_ids: Tensor
    valid: Tensor
    side: int

    @property
    def grids(self) -> tuple[Grid, ...]:
        return tuple((count, self.side, self.side) for count in self.valid.sum(1).tolist())

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        return replace(self, pixels=self.pixels.to(device, dtype))

    def take(self, images: Sequence[int]) -> Self:
        return replace(
            self,
            pixels=take_rows(self.pixels, images),
            aspect_ratio_ids=take_rows(self.aspect_ratio_ids, images),
            valid=take_rows(self.valid, images),
        )

    def split(self, features: Tensor, num_tokens: NumTokens) -> tuple[Tensor, ...]:
        import torch

        by_tile = features.reshape(*self.valid.shape, *features.shape[1:])
        # By numbers of the host: of a mask on the device it would wait for the number of tiles.
        valid: list[list[bool]] = self.valid.tolist()
        return tuple(torch.cat(list(compress(*image))) for image in zip(by_tile, valid, strict=True))

    def without_images(self, num_tokens: NumTokens, width: int, like: Tensor) -> tuple[Tensor, ...]:
        return ()


@dataclass(frozen=True, eq=False)
class TileLayout:
    """What the blocks need to know about a batch of tiles.

    Attributes:
        mask: (images, 1, tokens, tokens), added to the attention scores.
        aspect_ratio_ids: As in :class:`TileBatch`, on the device.
    """

    mask: Tensor
    aspect_ratio_ids: Tensor


def real_images(ids: Tensor, valid: Tensor) -> Tensor:
    """Return which images are real and not only padding of the batch, (batch x images,) bool."""
    return ((ids > 0) & valid.any(-1)).flatten()
