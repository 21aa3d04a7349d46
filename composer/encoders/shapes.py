"""Shapes of the layers that every family is made of, under the names of a checkpoint. Loads no torch."""

from __future__ import annotations

from ..schemas import EncoderConfig

Shapes = dict[str, tuple[int, ...]]
"""Tensor names of a checkpoint -> shapes."""


def linear(name: str, inputs: int, outputs: int, *, bias: bool = True) -> Shapes:
    """A torch.nn.Linear."""
    return {f"{name}.weight": (outputs, inputs)} | ({f"{name}.bias": (outputs,)} if bias else {})


def layer_norm(name: str, width: int) -> Shapes:
    """A torch.nn.LayerNorm; an empty ``name`` leaves the bare parameter names."""
    prefix = f"{name}." if name else ""
    return {f"{prefix}weight": (width,), f"{prefix}bias": (width,)}


def conv_patches(name: str, encoder: EncoderConfig, *, bias: bool = True) -> Shapes:
    """The Conv2d that cuts an image into patches."""
    weight = (encoder.hidden_size, encoder.num_channels, encoder.patch_size, encoder.patch_size)
    return {f"{name}.weight": weight} | ({f"{name}.bias": (encoder.hidden_size,)} if bias else {})


def num_positions(encoder: EncoderConfig) -> int:
    """Patches of an image of the encoder's own size: rows of its position table, prefix tokens aside."""
    return (encoder.image_size // encoder.patch_size) ** 2
