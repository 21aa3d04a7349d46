"""Choose the attention backend of a planned tower."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..attention.backends import AttentionChoice, select_attn_backend
from ..attention.limited import select_among
from ..encoders import family_of

if TYPE_CHECKING:
    import torch

    from ..planning import Plan


def plan_attention(planned: Plan, device: torch.device, *, training: bool = False) -> AttentionChoice:
    """Choose the attention backend that the config names, or with ``auto`` the best that works.

    Args:
        planned: The tower.
        device: Where it will run.
        training: Whether gradients are needed.

    Raises:
        BackendError: If the config's backend is unknown or cannot work there.
        PluginError: If the plugin that offers it cannot be used.
    """
    import torch

    family = family_of(planned.encoder)
    if family.attention_backends:
        return select_among(family.attention_backends, planned.info.model_type, planned.config.attn_backend)
    fields = family.transformers_config(planned.encoder, planned.num_blocks, head=planned.readout.needs_head)
    return select_attn_backend(
        planned.info.head_size,
        getattr(torch, planned.dtype),
        device,
        override=planned.config.attn_backend,
        packed=planned.info.packed,
        training=training,
        compiled=planned.config.compile is not False,
        model_class=family.transformers_class(fields),
    )
