"""The choice for families that only some backends run."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import BackendError
from .backends import AttentionBackend, AttentionChoice


def select_among(backends: Sequence[str], model_type: str, override: str) -> AttentionChoice:
    """Choose for a family that names its backends.

    Args:
        backends: Their names, the best first; all of them work everywhere.
        model_type: The family.
        override: ``attn_backend`` of the config.

    Raises:
        BackendError: It is another backend.
    """
    reason = f"{model_type} runs on {' and '.join(backends)} only"
    chosen = AttentionBackend(backends[0])
    if override != "auto":
        if override not in backends:
            raise BackendError(f"attention backend {override} cannot be used: {reason}")
        chosen = AttentionBackend(override)
    passed_over = {
        backend: f"{chosen.value} is preferred" if backend.value in backends else reason
        for backend in AttentionBackend
        if backend is not chosen
    }
    asked = "asked for" if override != "auto" else reason
    return AttentionChoice(chosen, asked, passed_over, tuple(map(AttentionBackend, backends)))
