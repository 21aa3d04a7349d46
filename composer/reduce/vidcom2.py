"""Video Compression Commander (VidCom2), which keeps what is unique in a clip and in its frame."""

from __future__ import annotations

from math import floor
from typing import TYPE_CHECKING

from ..encoders import Grid
from .selecting import SelectingReduction

if TYPE_CHECKING:
    from torch import Tensor

_TEMPERATURE = 0.01
_VARIANCES = (1 / 8, 1 / 4, 1 / 2, 1, 2)
"""Those of the Gaussian kernels, of which a similarity is the sum."""


class Vidcom2Reduction(SelectingReduction):
    """Gives unique frames more tokens, and keeps in each frame the tokens that are most unique.

    Source: "Video Compression Commander: Plug-and-Play Inference Acceleration for Video Large Language
    Models", arXiv 2505.14454, with the values of its authors' code:

    - Of the features, the half that varies least over the clip is looked at. In it, tokens have length 1.
    - A token is as similar to the clip, and to its frame, as Gaussian kernels of its distance from the mean
      of their tokens say.
    - A frame's share grows with the softmax of how little its tokens are similar to the clip.
    - A frame keeps the tokens with the least sum of both similarities.

    The authors round each frame's number of tokens. Here the total is exact, ``keep`` of all tokens rounded
    down and at least one of each frame: every frame gets one, and the others are dealt in proportion to the
    shares by Webster's method, as far as a frame has tokens. An image is a clip of one frame.
    """

    type = "vidcom2"

    def num_tokens(self, grid: Grid) -> int:
        frames, rows, columns = grid
        return max(frames, floor(self.keep * frames * rows * columns))

    def priorities(self, frames: Tensor) -> Tensor:
        import torch

        count, size, width = frames.shape
        variances = frames.flatten(0, 1).var(dim=0, correction=0)
        quiet = torch.sort(variances, stable=True).indices[: max(width // 2, 1)]
        tokens = torch.nn.functional.normalize(frames[..., quiet], dim=-1)
        to_clip = _similarity(tokens, tokens.mean(dim=(0, 1), keepdim=True))
        to_frame = _similarity(tokens, tokens.mean(dim=1, keepdim=True))
        shares = 1 + torch.softmax(-to_clip.mean(dim=1) / _TEMPERATURE, dim=0) - 1 / count

        order = torch.sort(to_clip + to_frame, dim=1, stable=True).indices
        places = torch.arange(size, device=frames.device, dtype=frames.dtype)
        # Webster's method: a frame's n-th token is worth its share over 2n - 1. The first one always stays.
        worth = shares[:, None] / (2 * places + 1)
        worth[:, 0] = torch.inf
        return torch.empty_like(worth).scatter_(1, order, worth)


def _similarity(tokens: Tensor, center: Tensor) -> Tensor:
    """Sum Gaussian kernels of distances: (frames, tokens of a frame)."""
    import torch

    squared = (tokens - center).square().sum(dim=-1)
    return torch.stack([torch.exp(-squared / (2 * variance)) for variance in _VARIANCES]).sum(dim=0)
