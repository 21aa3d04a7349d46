"""Efficient Video Sampling, which drops what is as it was in the frame before."""

from __future__ import annotations

from math import floor
from typing import TYPE_CHECKING

from ..encoders import Grid
from .selecting import SelectingReduction

if TYPE_CHECKING:
    from torch import Tensor


class EvsReduction(SelectingReduction):
    """Keeps the first frame, and the tokens that differ most from the same place in the frame before.

    The difference is one minus the cosine of the angle between the two. As many tokens stay as ``keep`` says,
    rounded down, and never less than those of the first frame; an image stays whole. Source: "Efficient Video
    Sampling: Pruning Temporally Redundant Tokens for Faster VLM Inference", arXiv 2510.14624.
    """

    type = "evs"

    def num_tokens(self, grid: Grid) -> int:
        frames, rows, columns = grid
        return max(rows * columns, floor(self.keep * frames * rows * columns))

    def priorities(self, frames: Tensor) -> Tensor:
        import torch

        differences = 1 - torch.cosine_similarity(frames[1:], frames[:-1], dim=-1)
        first = frames.new_full((1, frames.shape[1]), torch.inf)
        return torch.cat([first, differences])
