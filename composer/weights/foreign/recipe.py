"""How tensors of transformers' layout are made of another library's: the parts of its table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

if TYPE_CHECKING:
    from torch import Tensor


def _same(tensor: Tensor) -> Tensor:
    return tensor


@dataclass(frozen=True)
class Recipe:
    """What one tensor is made of.

    Attributes:
        sources: Names of the tensors in the checkpoint.
        make: Makes it of them; also run on the meta device, for the shape alone.
    """

    sources: tuple[str, ...]
    make: Callable[..., Tensor] = _same

    def under(self, prefix: str) -> Recipe:
        """The same with ``prefix`` before the names."""
        return replace(self, sources=tuple(prefix + source for source in self.sources))


Table: TypeAlias = list[tuple[str, Recipe]]
"""Names of our tensors and what they are made of. A name may stand there several times: the first recipe
whose sources are all in the checkpoint is taken."""


@dataclass(frozen=True)
class Library:
    """How a library names the tensors of its encoders.

    Attributes:
        title: What messages call it.
        marks: By these it is recognised: of each group, one name must be there.
        block: What a block's name begins with, before its index, as in ``blocks.``.
        tables: model_type -> from the config block to the tables of what is outside the blocks, and of what
            is in a block, relative to it on both sides.
        unused: What names begin with that belong to its encoders, and to no tower.
    """

    title: str
    marks: tuple[tuple[str, ...], ...]
    block: str
    tables: Mapping[str, Callable[[Any], tuple[Table, Table]]]
    unused: tuple[str, ...] = ()


def tensor(target: str, source: str, make: Callable[..., Tensor] = _same) -> Table:
    """One tensor from one."""
    return [(target, Recipe((source,), make))]


def module(target: str, source: str) -> Table:
    """Weight and bias of a module that is the same there."""
    return [(f"{target}.{name}", Recipe((f"{source}.{name}",))) for name in ("weight", "bias")]


def split(targets: Iterable[str], source: str, joint: str = ".") -> Table:
    """Weights and biases of projections that are one there, their rows one after the other.

    Args:
        targets: The projections' modules, in the order of the rows.
        source: The module there.
        joint: What stands between its name and ``weight`` or ``bias``.
    """
    targets = list(targets)
    return [
        (f"{target}.{name}", Recipe((f"{source}{joint}{name}",), _part(index, len(targets))))
        for index, target in enumerate(targets)
        for name in ("weight", "bias")
    ]


def joined(*tensors: Tensor) -> Tensor:
    """Tensors below each other."""
    return torch.cat(tensors)


def reshaped(*shape: int) -> Callable[[Tensor], Tensor]:
    """Makes a tensor of another shape, with the values in the same order."""
    return lambda tensor: tensor.reshape(shape)


def positions(patches: int, *shape: int) -> Callable[[Tensor], Tensor]:
    """Makes positions of ``shape`` with a row for the class token, which is zero if there is none.

    Such a checkpoint has the class token's position in the class token itself.
    """

    def make(tensor: Tensor) -> Tensor:
        rows = tensor.flatten(0, -2)
        if len(rows) == patches:
            rows = torch.cat([rows.new_zeros(1, rows.shape[-1]), rows])
        return rows.reshape(shape)

    return make


def _part(index: int, of: int) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor.reshape(of, -1, *tensor.shape[1:])[index]


def clip_block(norms: tuple[str, str], qkv: tuple[str, str], out: str, mlp: tuple[str, str]) -> Table:
    """The block of CLIP, MetaCLIP 2 and SigLIP.

    Args:
        norms: The two norms there.
        qkv: The joint projection there, and what stands between its name and ``weight`` or ``bias``.
        out: The output projection there.
        mlp: The two layers of the MLP there.
    """
    return [
        *module("layer_norm1", norms[0]),
        *split((f"self_attn.{name}_proj" for name in "qkv"), *qkv),
        *module("self_attn.out_proj", out),
        *module("layer_norm2", norms[1]),
        *module("mlp.fc1", mlp[0]),
        *module("mlp.fc2", mlp[1]),
    ]
