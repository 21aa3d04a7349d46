"""Preparing a composed tower for training: frozen parts, and activations computed twice instead of kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import BackendError

if TYPE_CHECKING:
    from .schemas import TrainingConfig
    from .tower import ComposedVisionEncoder


def prepare_training(tower: ComposedVisionEncoder, config: TrainingConfig) -> None:
    """Freeze what the config names, and switch gradient checkpointing on.

    Raises:
        BackendError: Blocks that transformers cannot checkpoint.
    """
    freeze(tower, config)
    if config.gradient_checkpointing:
        enable_gradient_checkpointing(tower)


def freeze(tower: ComposedVisionEncoder, config: TrainingConfig) -> None:
    """Take the named parts out of training: their parameters require no gradient."""
    if "all" in config.freeze:
        tower.requires_grad_(False)
        return
    if "stem" in config.freeze:
        for name in tower.family.stem_shapes(tower.plan.encoder):
            tower.model.get_parameter(name).requires_grad_(False)
    for block in tower.blocks[: config.frozen_blocks] if config.frozen_blocks else ():
        block.requires_grad_(False)


def enable_gradient_checkpointing(tower: ComposedVisionEncoder) -> None:
    """Let blocks compute their activations again in the backward pass; in effect in training mode.

    Raises:
        BackendError: Blocks that transformers cannot checkpoint.
    """
    model: Any = tower.model
    # The newer name, or that of the oldest supported transformers.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    try:
        enable({"use_reentrant": False})
    except ValueError as error:
        raise BackendError(f"gradient_checkpointing: {str(error).partition(chr(10))[0]}") from error
