"""The interface of a reduction of visual tokens. Loads no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

from ..encoders import Grid
from ..schemas.reduce import ReduceConfig

if TYPE_CHECKING:
    from torch import Tensor


class Reduction(ABC):
    """A way to reduce the tokens of one image or clip.

    Args:
        config: The config block.
    """

    type: ClassVar[str]
    needs_plane: ClassVar[bool] = False
    """Whether it works only on tokens that stand row by row in the plane of the image."""

    def __init__(self, config: ReduceConfig) -> None:
        self.config = config

    @property
    def keep(self) -> Fraction:
        """The share that stays, exactly as it is written: 0.29 of 100 is 29."""
        return Fraction(str(self.config.keep))

    @abstractmethod
    def num_tokens(self, grid: Grid) -> int:
        """Count the tokens that stay.

        Args:
            grid: Frames, rows and columns of the tokens of an image or clip.
        """

    @abstractmethod
    def run(self, tokens: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """Reduce the tokens of an image or clip.

        Scores and means are computed in float32. The host does not wait for the device.

        Args:
            tokens: (tokens, width), in any floating dtype, frame after frame.
            grid: Their frames, rows and columns.

        Returns:
            The tokens that stay, (:meth:`num_tokens`, width) in the dtype of ``tokens``, and their indices
            among ``tokens``, int64 on the same device, in ascending order.
        """
