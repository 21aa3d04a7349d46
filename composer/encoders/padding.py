"""How a batch is padded to a number of patches, so that it has the shapes of every batch of so many.

Loads no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from .batch import Batch, NumTokens
from .facts import Grid, VisionEncoderInfo
from .layout import LayoutT

if TYPE_CHECKING:
    from torch import Tensor

    from .dense import DenseBatch
    from .packed import PackedBatch

_TOKENS_A_SEGMENT = 256
"""There is room for one frame of so many tokens on average; kernels look at every place."""
_FEWEST_SEGMENTS = 8

B = TypeVar("B", bound=Batch)
L = TypeVar("L")


@dataclass(frozen=True)
class Padding(ABC, Generic[B, L]):
    """How the batches of one encoder are padded.

    Attributes:
        info: Facts about the encoder.
    """

    info: VisionEncoderInfo
    reads_lengths: ClassVar[bool] = False
    """Whether attention is told where images begin and end; it must then read that on the device."""

    @property
    @abstractmethod
    def smallest(self) -> int:
        """The patches of the smallest image; every batch is padded to a multiple of them."""

    def budget(self, patches: int) -> int:
        """Return the largest number of patches, up to this one, that a batch can be padded to."""
        return patches // self.smallest * self.smallest

    @abstractmethod
    def fits(self, batch: B, budget: int) -> bool:
        """Return whether a batch can be padded to so many patches."""

    @abstractmethod
    def padded(self, batch: B, budget: int) -> B:
        """Return a batch with the images that are missing; those have no pixels yet."""

    @abstractmethod
    def blank(self, batch: B, budget: int) -> B:
        """Return a padded batch whose pixels are zero, in memory of their own."""

    @abstractmethod
    def fixed(self, layout: L, budget: int) -> L:
        """Return the layout of a padded batch in the shapes that it has for every batch."""

    @abstractmethod
    def cut(self, features: Tensor, batch: B, num_tokens: NumTokens) -> Tensor:
        """Return the features of a batch, of those that the padded one has."""


class ImagePadding(Padding["DenseBatch", None]):
    """Images of one size: black images are added."""

    @property
    def smallest(self) -> int:
        return prod(self.info.grid_of_pixels(self.info.image_size, self.info.image_size))

    def fits(self, batch: DenseBatch, budget: int) -> bool:
        return prod(batch.grid) == self.smallest and len(batch) * self.smallest <= budget

    def padded(self, batch: DenseBatch, budget: int) -> DenseBatch:
        return batch

    def blank(self, batch: DenseBatch, budget: int) -> DenseBatch:
        images = budget // self.smallest
        return replace(batch, pixels=batch.pixels.new_zeros(images, *batch.pixels.shape[1:]))

    def fixed(self, layout: None, budget: int) -> None:
        return None

    def cut(self, features: Tensor, batch: DenseBatch, num_tokens: NumTokens) -> Tensor:
        return features[: len(batch)]


class PatchPadding(Padding["PackedBatch", LayoutT], Generic[LayoutT]):
    """Images of any size in one sequence: an image is added that no other attends to."""

    reads_lengths = True

    @property
    def smallest(self) -> int:
        return self.info.grid_multiple**2

    def fits(self, batch: PackedBatch, budget: int) -> bool:
        frames = sum(grid[0] for grid in batch.grids)
        return _patches(batch.grids) <= budget and frames < _room(budget)

    def padded(self, batch: PackedBatch, budget: int) -> PackedBatch:
        rows = self.info.grid_multiple
        missing = budget - _patches(batch.grids)
        more = ((1, rows, missing // rows),) if missing else ()
        return replace(batch, grids=batch.grids + more)

    def blank(self, batch: PackedBatch, budget: int) -> PackedBatch:
        pixels = batch.pixels.new_zeros(budget, *batch.pixels.shape[1:])
        return replace(self.padded(batch, budget), pixels=pixels)

    def fixed(self, layout: LayoutT, budget: int) -> LayoutT:
        return layout.with_fixed_segments(_room(budget))

    def cut(self, features: Tensor, batch: PackedBatch, num_tokens: NumTokens) -> Tensor:
        return features.narrow(-2, 0, sum(map(num_tokens, batch.grids)))


def _patches(grids: Sequence[Grid]) -> int:
    return sum(map(prod, grids))


def _room(budget: int) -> int:
    """Return how many frames there is room for, with that of the padding."""
    return max(_FEWEST_SEGMENTS, budget // _TOKENS_A_SEGMENT)
