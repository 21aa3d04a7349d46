"""Attention backends: the choice between them."""

from __future__ import annotations

from ..running.attention import plan_attention, register_attention
from .backends import (
    AttentionBackend,
    AttentionChoice,
    get_vit_attn_backend,
    register_attention_backend,
    select_attn_backend,
)

__all__ = [
    "AttentionBackend",
    "AttentionChoice",
    "get_vit_attn_backend",
    "plan_attention",
    "register_attention",
    "register_attention_backend",
    "select_attn_backend",
]
