"""Reductions that keep some tokens as they are, by a score."""

from __future__ import annotations

from abc import abstractmethod
from math import inf, nan
from typing import TYPE_CHECKING

from ..encoders import Grid
from .base import Reduction

if TYPE_CHECKING:
    from torch import Tensor


class SelectingReduction(Reduction):
    """Keeps the tokens of the highest priority, in their order; of equal ones those that come first.

    Tokens that are NaN or infinite go before all others, so that whoever checks the features finds them.
    """

    def run(self, tokens: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        import torch

        count = self.num_tokens(grid)
        if count == len(tokens):
            return tokens, torch.arange(count, device=tokens.device)
        with torch.no_grad():
            frames = tokens.detach().float().reshape(grid[0], -1, tokens.shape[-1])
            # Where another token is NaN, the priorities of good ones may be, too.
            priorities = self.priorities(frames).nan_to_num(nan=inf, posinf=inf, neginf=-inf)
            priorities = priorities.masked_fill(
                ~frames.isfinite().all(dim=-1), nan
            )  # NaN is sorted above inf
            order = torch.sort(priorities.flatten(), descending=True, stable=True).indices
            kept = torch.sort(order[:count]).values
        return tokens.index_select(0, kept), kept

    @abstractmethod
    def priorities(self, frames: Tensor) -> Tensor:
        """Score tokens (frames, tokens of a frame, width) in float32: (frames, tokens of a frame)."""
