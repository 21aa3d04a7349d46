"""Grids of values at another number of rows and columns."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..encoders.facts import Grid


def resampled(values: Tensor, size: tuple[int, int], mode: str, align_corners: bool) -> Tensor:
    """Resample (images, channels, rows, columns) to ``size``, (rows, columns), in float32 at least.

    Values of that size already are returned as they are.
    """
    if tuple(values.shape[2:]) == size:
        return values
    wide = values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
    corners = None if mode == "nearest" else align_corners
    return F.interpolate(wide, size, mode=mode, align_corners=corners).to(values.dtype)


def resampled_tokens(
    tokens: Tensor, grid: Grid, size: Sequence[int], mode: str, align_corners: bool
) -> Tensor:
    """Resample tokens (images, tokens, width), row by row of ``grid``, to rows and columns of ``size``."""
    frames, rows, columns = grid
    if (rows, columns) == tuple(size):
        return tokens
    images, _, width = tokens.shape
    cells = tokens.reshape(images * frames, rows, columns, width).permute(0, 3, 1, 2)
    made = resampled(cells, (size[0], size[1]), mode, align_corners)
    return made.permute(0, 2, 3, 1).reshape(images, -1, width)
