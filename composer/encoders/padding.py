"""How a batch is padded to a number of patches, so that it has the shapes of every batch of so many.

Loads no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from .batch import Batch, NumTokens
from .facts import VisionEncoderInfo

if TYPE_CHECKING:
    from torch import Tensor

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
