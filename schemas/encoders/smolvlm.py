"""SmolVLM's vision tower: ``SmolVLMVisionConfig`` of transformers."""

from __future__ import annotations

from typing import Literal

from .base import Count
from .idefics import IdeficsVisionEncoderConfig


class SmolVLMVisionEncoderConfig(IdeficsVisionEncoderConfig):
    """SmolVLM ViT: Idefics3's."""

    model_type: Literal["smolvlm_vision"]
    hidden_size: Count = 1152
    num_attention_heads: Count = 16
