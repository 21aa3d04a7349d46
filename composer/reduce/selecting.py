"""Reductions that keep some tokens as they are, by a score."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from ..encoders import Grid
from .base import Reduction

if TYPE_CHECKING:
    from torch import Tensor


class SelectingReduction(Reduction):
    """Keeps the tokens of the highest priority, in their order; of equal ones those that come first."""

    def run(self, tokens: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        import torch

        count = self.num_tokens(grid)
        if count == len(tokens):
            return tokens, torch.arange(count, device=tokens.device)
        with torch.no_grad():
            frames = tokens.detach().float().reshape(grid[0], -1, tokens.shape[-1])
            order = torch.sort(self.priorities(frames).flatten(), descending=True, stable=True).indices
            kept = torch.sort(order[:count]).values
        return tokens.index_select(0, kept), kept

    @abstractmethod
    def priorities(self, frames: Tensor) -> Tensor:
        """Score tokens (frames, tokens of a frame, width) in float32: (frames, tokens of a frame)."""
