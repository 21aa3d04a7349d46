"""Attention backends: the choice between them."""

from __future__ import annotations

from .backends import (
    AttentionBackend,
    AttentionChoice,
    get_vit_attn_backend,
    register_attention_backend,
    select_attn_backend,
)
from .planned import plan_attention, register_attention

__all__ = [
    "AttentionBackend",
    "AttentionChoice",
    "get_vit_attn_backend",
    "plan_attention",
    "register_attention",
    "register_attention_backend",
    "select_attn_backend",
]
