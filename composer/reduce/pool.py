"""Average pooling in the plane of the image."""

from __future__ import annotations

from math import ceil, isqrt
from typing import TYPE_CHECKING, ClassVar

from ..encoders import Grid
from .base import Reduction

if TYPE_CHECKING:
    from torch import Tensor


class PoolReduction(Reduction):
    """The mean of neighbouring tokens, frame by frame.

    Rows and columns are each multiplied by the root of ``keep`` and rounded up, and the plane is divided
    into so many cells: along a side of s tokens, cell i of n is tokens floor(i s / n) to
    ceil((i + 1) s / n) - 1, as in adaptive average pooling. The index of a cell is that of the token at its
    middle, of two the first.
    """

    type = "pool"
    needs_plane: ClassVar[bool] = True

    def num_tokens(self, grid: Grid) -> int:
        frames, rows, columns = grid
        return frames * self._cells(rows) * self._cells(columns)

    def run(self, tokens: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        import torch

        frames, rows, columns = grid
        size = (self._cells(rows), self._cells(columns))
        plane = tokens.float().reshape(frames, rows, columns, -1).permute(0, 3, 1, 2)
        means = torch.nn.functional.adaptive_avg_pool2d(plane, size)
        first = torch.arange(frames, device=tokens.device)[:, None, None] * rows * columns
        down = _middles(torch.arange(size[0], device=tokens.device), rows, size[0])
        across = _middles(torch.arange(size[1], device=tokens.device), columns, size[1])
        kept = (first + down[:, None] * columns + across).flatten()
        return means.permute(0, 2, 3, 1).reshape(len(kept), -1).to(tokens.dtype), kept

    def _cells(self, side: int) -> int:
        """The least number whose square is ``keep`` of the side's square or more."""
        return isqrt(ceil(self.keep * side**2) - 1) + 1


def _middles(cells: Tensor, side: int, count: int) -> Tensor:
    """Return the token at the middle of each of ``count`` cells along a side."""
    start, end = cells * side // count, ((cells + 1) * side + count - 1) // count
    return (start + end - 1) // 2
