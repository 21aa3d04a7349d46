"""Images as a tower runs them, made of checked inputs. Loads no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Self, TypeAlias

from .facts import Grid

if TYPE_CHECKING:
    import torch
    from torch import Tensor


NumTokens: TypeAlias = "Callable[[Grid], int]"
"""Counts the output tokens of an image with this grid."""


def take_rows(tensor: Tensor, rows: Sequence[int]) -> Tensor:
    """Return some rows of a tensor; the host does not wait for the device, as it would to send indices."""
    import torch

    if list(rows) == list(range(len(tensor))):
        return tensor
    return torch.cat([tensor[row : row + 1] for row in rows]) if rows else tensor[:0]


class Images(ABC):
    """The checked images of one call, of which some can be taken.

    Attributes:
        grids: Frames (or tiles), patch rows and patch columns of every image.
    """

    if TYPE_CHECKING:  # at run time, an abstract property would forbid a dataclass field of the same name

        @property
        def grids(self) -> tuple[Grid, ...]: ...

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.grids)

    @property
    def is_empty(self) -> bool:
        """Whether there is no image."""
        return not self.grids

    @abstractmethod
    def take(self, images: Sequence[int]) -> Self:
        """Return some images, by their indices in ascending order, as a batch of their own."""


class Batch(Images):
    """Images in the form that a family runs; its ``read`` makes it from the inputs of a forward.

    Attributes:
        pixels: Floating-point pixels of all images; each family has axes of its own.
        grids: As for :class:`Images`.
    """

    if TYPE_CHECKING:

        @property
        def pixels(self) -> Tensor: ...

    @property
    def layout_key(self) -> Hashable:
        """The key under which the family's layout is kept; None if a layout is made for every batch."""
        return None

    @abstractmethod
    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        """Return the same batch on ``device``, its pixels in ``dtype``."""

    @abstractmethod
    def split(self, features: Tensor, num_tokens: NumTokens) -> Tensor | tuple[Tensor, ...]:
        """Return the features image by image, contiguous and without padding.

        Args:
            features: What the readout made: (images, tokens, width) of a dense batch, (..., tokens, width) of
                a packed one, (images x tiles, tokens, width) of tiles.
            num_tokens: Counts the output tokens of an image with a grid.

        Returns:
            (images, tokens, width) for a dense batch; otherwise one (tokens, width) tensor per image.
        """

    @abstractmethod
    def without_images(self, num_tokens: NumTokens, width: int, like: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return what :meth:`split` returns for this batch if it has no images.

        Args:
            num_tokens: As for :meth:`split`.
            width: Features of a token.
            like: A tensor with the output's dtype and device.
        """


class StackedBatch(Batch):
    """Images that are stacked on the first axis of their pixels."""

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def is_empty(self) -> bool:
        # Not by len(): it would fix the number of images where torch.export traces this.
        return self.pixels.shape[0] == 0
