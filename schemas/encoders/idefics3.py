"""Idefics3's vision tower, which Aria has too: ``Idefics3VisionConfig`` of transformers."""

from __future__ import annotations

from typing import Literal

from .base import Count
from .idefics import IdeficsVisionEncoderConfig


class Idefics3VisionEncoderConfig(IdeficsVisionEncoderConfig):
    """Idefics3 ViT: images, or tiles of them, as squares."""

    model_type: Literal["idefics3_vision"]
    hidden_size: Count = 1152
    num_attention_heads: Count = 16
