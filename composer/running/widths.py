"""Run linear layers of awkward widths by matrix products of better ones, padded with zeros."""

from __future__ import annotations

from typing import Self, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

_ALIGNED = 8
"""A row of so many values begins at 16 bytes in half precision, as the fast kernels of GPUs need it, and at
whole AVX2 vectors in float32."""
_PADDED = 16
"""So many values of float32 are a vector of AVX-512."""
_WIDE = 1024
"""Products of fewer values take no time worth the padding."""
_ROWS = 2048


LinearT = TypeVar("LinearT", bound=nn.Linear)


class PaddedLinear(nn.Linear):
    """A linear layer whose product is computed with more inputs or outputs, all zero.

    It has the parameters and the output of a plain one. The weight is padded in every forward, and not once:
    whoever reads, writes, trains or replaces parameters finds those of the checkpoint. Few rows do not repay
    that where it is not compiled, so they are multiplied as they are.
    """

    @classmethod
    def of(cls, layer: nn.Linear) -> Self:
        """Return a layer with the parameters of another."""
        return _with_parameters_of(layer, cls)

    def plain(self) -> nn.Linear:
        """Return the layer without padding; they share their parameters."""
        return _with_parameters_of(self, nn.Linear)

    def forward(self, input: Tensor) -> Tensor:
        if not torch.compiler.is_compiling() and input.numel() < _ROWS * self.in_features:
            return super().forward(input)
        inputs, outputs = (padded(width) - width for width in (self.in_features, self.out_features))
        weight = pad(self.weight, (0, inputs, 0, outputs))
        bias = None if self.bias is None else pad(self.bias, (0, outputs))
        return linear(pad(input, (0, inputs)), weight, bias)[..., : self.out_features]


def padded(width: int) -> int:
    """Return how wide a product is computed, of a layer of this width."""
    return width + -width % _PADDED if width % _ALIGNED and width >= _WIDE else width


def pad_widths(module: nn.Module) -> None:
    """Replace the linear layers in a module that have awkward widths, such as those of Qwen2.5-VL's MLPs,
    which are 3,420 wide."""
    for parent, name, part in _children(module):
        # Of no subclass: torch's attention, for one, takes the weight of its own and runs it elsewhere.
        if type(part) is nn.Linear and _is_awkward(part):
            setattr(parent, name, PaddedLinear.of(part))


def without_padding(module: nn.Module) -> None:
    """Undo :func:`pad_widths`, for what replaces plain linear layers only."""
    for parent, name, part in _children(module):
        if isinstance(part, PaddedLinear):
            setattr(parent, name, part.plain())


def _is_awkward(layer: nn.Linear) -> bool:
    return any(padded(width) != width for width in (layer.in_features, layer.out_features))


def _children(module: nn.Module) -> list[tuple[nn.Module, str, nn.Module]]:
    """Return all modules below one, with what holds each and its name there."""
    return [(parent, name, part) for parent in module.modules() for name, part in parent.named_children()]


def _with_parameters_of(layer: nn.Linear, kind: type[LinearT]) -> LinearT:
    made = kind(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
    for name, parameter in layer.named_parameters():
        setattr(made, name, parameter)
    return made.train(layer.training)
