"""Prepare a tower for training: freeze parts, and switch gradient checkpointing on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..errors import BackendError

if TYPE_CHECKING:
    from ..schemas import TrainingConfig
    from ..tower.module import VisionTower


def prepare_training(tower: VisionTower, config: TrainingConfig) -> None:
    """Freeze the parts that the config names, and switch gradient checkpointing on if it asks for it.

    Raises:
        BackendError: If transformers cannot checkpoint the blocks.
    """
    freeze(tower, config)
    if config.gradient_checkpointing:
        enable_gradient_checkpointing(tower)


def freeze(tower: VisionTower, config: TrainingConfig) -> None:
    """Freeze the parts that the config names: their parameters require no gradient."""
    if "all" in config.freeze:
        tower.requires_grad_(False)
        return
    if "stem" in config.freeze:
        family = tower.family
        behind = (family.blocks, family.post_norm, *family.head_modules())
        for name, parameter in tower.model.named_parameters():
            if not any(name.startswith(f"{part}.") for part in behind):
                parameter.requires_grad_(False)
    for block in tower.blocks[: config.frozen_blocks] if config.frozen_blocks else ():
        block.requires_grad_(False)


def enable_gradient_checkpointing(tower: VisionTower) -> None:
    """Make blocks compute their activations again in the backward pass, in training mode, to save memory.

    Raises:
        BackendError: If transformers cannot checkpoint the blocks.
    """
    from torch.utils.checkpoint import checkpoint
    from transformers.modeling_layers import GradientCheckpointingLayer

    layers = [layer for layer in tower.model.modules() if isinstance(layer, GradientCheckpointingLayer)]
    if not layers:
        raise BackendError(
            f"gradient_checkpointing cannot be used: the blocks of {tower.info.model_type} are not a "
            "subclass of transformers' GradientCheckpointingLayer; set training.gradient_checkpointing to "
            "false"
        )
    # The model's own switch does the same, but its name changed between versions and it warns of adapters.
    for layer in layers:
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)  # type: ignore[assignment]  # typed by its default
