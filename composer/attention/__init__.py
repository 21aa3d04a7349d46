"""Attention backends: how one is chosen, and the kernels that run it. Nothing here knows encoder families."""

from __future__ import annotations

from .backends import (
    AttentionBackend,
    AttentionChoice,
    get_vit_attn_backend,
    register_attention_backend,
    select_attn_backend,
)
from .registration import register_attention

__all__ = [
    "AttentionBackend",
    "AttentionChoice",
    "get_vit_attn_backend",
    "register_attention",
    "register_attention_backend",
    "select_attn_backend",
]
