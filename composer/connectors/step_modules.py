"""The torch modules of a connector's steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN

from ..encoders import Grid
from ..schemas.connectors.steps import (
    ActStep,
    AvgPoolStep,
    LinearStep,
    NormStep,
    SpaceToDepthStep,
    Step,
    SwigluStep,
)


class Steps(nn.ModuleList):
    """Steps that run one after the other on rows (rows, features).

    Args:
        steps: Their config blocks.
        widths: Features of a row in front of each.
    """

    def __init__(self, steps: Sequence[Step], widths: Sequence[int]) -> None:
        super().__init__(_module(step, width) for step, width in zip(steps, widths, strict=True))

    def forward(self, rows: Tensor, orders: Sequence[Tensor]) -> Tensor:
        """Run the steps.

        Args:
            rows: (rows, features), image after image.
            orders: For every step that joins squares, the rows square by square, (rows,) int64.
        """
        remaining = iter(orders)
        for step in self:
            rows = step(rows[next(remaining)]) if isinstance(step, _Squares) else step(rows)
        return rows


def rows_by_square(grids: Sequence[Grid], side: int, squares: Sequence[int]) -> Tensor:
    """Return the rows of all images square by square, and row by row inside each: (rows,) int64.

    Args:
        grids: Frames, rows and columns of the images.
        side: Side of the squares; divides rows and columns.
        squares: The side of the squares by which the rows of each image come; 1 for row by row.
    """
    orders, start = [], 0
    for (frames, rows, columns), square in zip(grids, squares, strict=True):
        count = frames * rows * columns
        places = torch.arange(start, start + count).view(
            frames, rows // square, columns // square, square, square
        )
        raster = places.transpose(2, 3).reshape(frames, rows // side, side, columns // side, side)
        orders.append(raster.transpose(2, 3).flatten())
        start += count
    return torch.cat(orders)


class _Squares(nn.Module):
    """A step on rows that come square by square."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.rows = side**2


class _SpaceToDepth(_Squares):
    def __init__(self, side: int, *, channels_first: bool) -> None:
        super().__init__(side)
        self.channels_first = channels_first

    def forward(self, rows: Tensor) -> Tensor:
        squares = rows.view(-1, self.rows, rows.shape[-1])
        return (squares.transpose(1, 2) if self.channels_first else squares).flatten(1)


class _AvgPool(_Squares):
    def forward(self, rows: Tensor) -> Tensor:
        return rows.view(-1, self.rows, rows.shape[-1]).mean(1)


class _RMSNorm(nn.Module):
    """Divides a row by the root of its mean square, in float32; rounds before the weight, or after it."""

    def __init__(self, width: int, eps: float, *, plus_one: bool) -> None:
        super().__init__()
        self.eps, self.plus_one = eps, plus_one
        self.weight = nn.Parameter(torch.zeros(width) if plus_one else torch.ones(width))

    def forward(self, rows: Tensor) -> Tensor:
        wide = rows.float()
        normed = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        if self.plus_one:  # as Gemma's
            return (normed * (1 + self.weight.float())).to(rows.dtype)
        return self.weight * normed.to(rows.dtype)  # as Llama's


class _SwiGLU(nn.Linear):
    def __init__(self, inputs: int, width: int, *, bias: bool) -> None:
        super().__init__(inputs, 2 * width, bias=bias)

    def forward(self, rows: Tensor) -> Tensor:
        values, gate = super().forward(rows).chunk(2, dim=-1)
        return nn.functional.silu(gate) * values


def _module(step: Step, width: int) -> nn.Module:
    if isinstance(step, NormStep):
        if step.kind == "layer":
            return nn.LayerNorm(width, eps=step.eps)
        return _RMSNorm(width, step.eps, plus_one=step.kind == "rms1p")
    if isinstance(step, SpaceToDepthStep):
        return _SpaceToDepth(step.factor, channels_first=step.order == "chw")
    if isinstance(step, AvgPoolStep):
        return _AvgPool(step.kernel)
    if isinstance(step, LinearStep):
        return nn.Linear(width, step.width, bias=step.bias)
    if isinstance(step, SwigluStep):
        return _SwiGLU(width, step.width, bias=step.bias)
    if isinstance(step, ActStep):
        activation: nn.Module = ACT2FN[step.name]
        return activation
    raise TypeError(f"no module runs the step {step.type!r}")
