"""SmolVLM's vision tower: ``SmolVLMVisionConfig`` of transformers."""

from __future__ import annotations

from typing import ClassVar, Literal

from .base import Count
from .idefics import IdeficsVisionEncoderConfig


class SmolVLMVisionEncoderConfig(IdeficsVisionEncoderConfig):
    """SmolVLM ViT: Idefics3's."""

    foreign_fields: ClassVar[frozenset[str]] = frozenset({"max_image_size"})

    model_type: Literal["smolvlm_vision"]
    hidden_size: Count = 1152
    num_attention_heads: Count = 16
