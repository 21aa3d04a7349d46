"""Names and shapes of the tensors of common layers, as in a checkpoint. Loads no torch."""

from __future__ import annotations

from ..schemas import EncoderConfig

Shapes = dict[str, tuple[int, ...]]
"""Name of a tensor in a checkpoint -> its shape."""


def linear(name: str, inputs: int, outputs: int, *, bias: bool = True) -> Shapes:
    """Return the tensors of a torch.nn.Linear."""
    return {f"{name}.weight": (outputs, inputs)} | ({f"{name}.bias": (outputs,)} if bias else {})


def layer_norm(name: str, width: int) -> Shapes:
    """Return the tensors of a torch.nn.LayerNorm; with an empty ``name``, just ``weight`` and ``bias``."""
    prefix = f"{name}." if name else ""
    return {f"{prefix}weight": (width,), f"{prefix}bias": (width,)}


def conv_patches(name: str, encoder: EncoderConfig, *, bias: bool = True) -> Shapes:
    """Return the tensors of the Conv2d that embeds the patches of an image."""
    weight = (encoder.hidden_size, encoder.num_channels, encoder.patch_size, encoder.patch_size)
    return {f"{name}.weight": weight} | ({f"{name}.bias": (encoder.hidden_size,)} if bias else {})


def num_positions(encoder: EncoderConfig) -> int:
    """Count the patches of an image of the encoder's own size: rows of its position table without prefix."""
    return (encoder.image_size // encoder.patch_size) ** 2
