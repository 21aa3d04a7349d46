"""Attention of blocks that compute it themselves, and so take no backend."""

from __future__ import annotations

from ..errors import BackendError
from .backends import AttentionBackend, AttentionChoice


def eager_only(model_type: str, override: str) -> AttentionChoice:
    """The one choice for a family whose blocks compute attention themselves, as matrix products.

    Args:
        model_type: The family.
        override: ``attn_backend`` of the config.

    Raises:
        BackendError: It names another backend.
    """
    reason = f"the blocks of {model_type} compute attention themselves"
    if override not in ("auto", AttentionBackend.EAGER.value):
        raise BackendError(f"attention backend {override} cannot be used: {reason}; this works: eager")
    passed_over = dict.fromkeys(AttentionBackend, reason)
    del passed_over[AttentionBackend.EAGER]
    return AttentionChoice(AttentionBackend.EAGER, reason, passed_over, (AttentionBackend.EAGER,))
