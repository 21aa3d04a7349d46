"""The attention backend of a planned tower: choosing it, and making transformers know it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..attention.backends import AttentionBackend, AttentionChoice, plugin_function, select_attn_backend
from ..attention.limited import select_among
from ..encoders import family_of

if TYPE_CHECKING:
    import torch

    from ..planning import Plan


def plan_attention(planned: Plan, device: torch.device, *, training: bool = False) -> AttentionChoice:
    """Choose the backend that the config asks for, or the best one.

    Args:
        planned: The tower.
        device: Where it will run.
        training: Whether gradients are needed.

    Raises:
        BackendError: The backend asked for is unknown or cannot work there.
        PluginError: The plugin that offers it cannot be used.
    """
    import torch

    family = family_of(planned.encoder)
    if family.attention_backends:
        return select_among(family.attention_backends, planned.info.model_type, planned.config.attn_backend)
    model_class = None
    if not planned.info.packed:  # packed towers are run by functions of ours, on any class
        head = planned.config.head or planned.config.merges
        fields = family.transformers_config(planned.encoder, planned.num_blocks, head=head)
        model_class = family.transformers_class(fields)
    return select_attn_backend(
        planned.info.head_size,
        getattr(torch, planned.dtype),
        device,
        override=planned.config.attn_backend,
        packed=planned.info.packed,
        training=training,
        model_class=model_class,
    )


def register_attention(choice: AttentionChoice, *, packed: bool) -> str:
    """Make transformers know the chosen backend and return its name there.

    Raises:
        BackendError: Its package cannot be imported.
        PluginError: The plugin that offers it cannot be used.
    """
    if packed:
        from ..attention.packed import register_packed_attention

        return register_packed_attention(choice.backend)
    if not isinstance(choice.backend, AttentionBackend):
        from transformers import AttentionInterface, AttentionMaskInterface
        from transformers.masking_utils import sdpa_mask

        AttentionInterface.register(choice.implementation, plugin_function(choice.backend))
        AttentionMaskInterface.register(choice.implementation, sdpa_mask)
    return choice.implementation
