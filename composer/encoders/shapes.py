"""Names and shapes of the tensors of common layers, as in a checkpoint. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import prod

from ..schemas import EncoderConfig

Shapes = dict[str, tuple[int, ...]]
"""Name of a tensor in a checkpoint -> its shape."""


@dataclass(frozen=True)
class Part:
    """A part of an encoder: one module, or several that are alike. Counts its tensors without listing them.

    Attributes:
        shapes: The tensors of one such module.
        name: The name of a module by its index, which its tensors' names begin with; None for a part that
            is there once and whose names are complete.
        indices: The indices of the modules.
    """

    shapes: Shapes
    name: Callable[[int], str] | None = None
    indices: Sequence[int] = (0,)

    @property
    def num_tensors(self) -> int:
        """Tensors of all its modules."""
        return len(self.indices) * len(self.shapes)

    def num_values(self, *, without: frozenset[str]) -> int:
        """Values in all its tensors but those whose names end in one of ``without``."""
        kept = (shape for name, shape in self.shapes.items() if name.rpartition(".")[2] not in without)
        return len(self.indices) * sum(map(prod, kept))

    def expanded(self) -> Shapes:
        """Every tensor under its full name."""
        if self.name is None:
            return self.shapes
        return {
            f"{self.name(index)}.{name}": shape
            for index in self.indices
            for name, shape in self.shapes.items()
        }


def expanded(parts: Iterable[Part]) -> Shapes:
    """Every tensor of ``parts`` under its full name."""
    return {name: shape for part in parts for name, shape in part.expanded().items()}


def below(module: str, shapes: Shapes) -> Shapes:
    """The tensors of a module, whose names lack the module's, with full names; as they are if it is empty."""
    return {f"{module}.{name}": shape for name, shape in shapes.items()} if module else shapes


def linear(name: str, inputs: int, outputs: int, *, bias: bool = True) -> Shapes:
    """Return the tensors of a torch.nn.Linear."""
    return {f"{name}.weight": (outputs, inputs)} | ({f"{name}.bias": (outputs,)} if bias else {})


def linears(module: str, names: Iterable[str], inputs: int, outputs: int, *, bias: bool = True) -> Shapes:
    """Return the tensors of several torch.nn.Linear of one size in ``module``."""
    shapes: Shapes = {}
    for name in names:
        shapes |= linear(name, inputs, outputs, bias=bias)
    return below(module, shapes)


def mlp(module: str, width: int, mlp_width: int) -> Shapes:
    """Return the tensors of an MLP of two linear layers."""
    return below(module, linear("fc1", width, mlp_width) | linear("fc2", mlp_width, width))


def gated_mlp(module: str, width: int, mlp_width: int, *, bias: bool = True) -> Shapes:
    """Return the tensors of an MLP whose hidden features are multiplied by a gate."""
    shapes = {
        **linear("gate_proj", width, mlp_width, bias=bias),
        **linear("up_proj", width, mlp_width, bias=bias),
        **linear("down_proj", mlp_width, width, bias=bias),
    }
    return below(module, shapes)


def layer_norm(name: str, width: int) -> Shapes:
    """Return the tensors of a torch.nn.LayerNorm; with an empty ``name``, just ``weight`` and ``bias``."""
    return below(name, {"weight": (width,), "bias": (width,)})


def conv_patches(
    name: str, encoder: EncoderConfig, *, bias: bool = True, frames: int | None = None
) -> Shapes:
    """Return the tensors of the Conv2d that embeds the patches of an image, or with ``frames`` the Conv3d."""
    patch: tuple[int, ...] = (encoder.patch_size, encoder.patch_size)
    if frames is not None:
        patch = (frames, *patch)
    weight = (encoder.width, encoder.num_channels, *patch)
    return {f"{name}.weight": weight} | ({f"{name}.bias": (encoder.width,)} if bias else {})


def linear_patches(name: str, encoder: EncoderConfig, *, bias: bool = True, frames: int = 1) -> Shapes:
    """Return the tensors of the Linear that embeds the patches of an image, or of ``frames``."""
    values = frames * encoder.num_channels * encoder.patch_size**2
    return linear(name, values, encoder.width, bias=bias)


def matrix_values(shapes: Shapes) -> int:
    """Count the values of all matrices: the multiply-adds that they take for one token."""
    return sum(prod(shape) for shape in shapes.values() if len(shape) == 2)


def num_positions(encoder: EncoderConfig) -> int:
    """Count the patches of an image of the encoder's own size: rows of its position table without prefix."""
    return (encoder.image_size // encoder.patch_size) ** 2
