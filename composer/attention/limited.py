"""Choose the attention backend of a family that runs on some backends only."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import BackendError
from .backends import AttentionBackend, AttentionChoice


def select_among(backends: Sequence[str], model_type: str, override: str) -> AttentionChoice:
    """Choose the backend of a family that names the backends it runs on.

    Args:
        backends: The names of these backends, the best first; all of them work everywhere.
        model_type: The family's model_type.
        override: The config's ``attn_backend``.

    Raises:
        BackendError: If the config names another backend.
    """
    reason = f"{model_type} runs on {' and '.join(backends)} only"
    chosen = AttentionBackend(backends[0])
    if override != "auto":
        if override not in backends:
            raise BackendError(f"attention backend {override} cannot be used, because {reason}")
        chosen = AttentionBackend(override)
    passed_over = {
        backend: f"{chosen.value} is preferred" if backend.value in backends else reason
        for backend in AttentionBackend
        if backend is not chosen
    }
    asked = "asked for" if override != "auto" else reason
    return AttentionChoice(chosen, asked, passed_over, tuple(map(AttentionBackend, backends)))
