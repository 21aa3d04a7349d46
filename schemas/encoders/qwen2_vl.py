"""Qwen2-VL's vision tower: ``Qwen2VLVisionConfig`` of transformers."""

from __future__ import annotations

from typing import ClassVar, Literal

from .base import Activation, Count, Few
from .qwen_vl import QwenVisionEncoderConfig


class Qwen2VLVisionEncoderConfig(QwenVisionEncoderConfig):
    """Qwen2-VL ViT: LayerNorm, rope over rows and columns. Its ``hidden_size`` is the language model's."""

    width_key: ClassVar[str] = "embed_dim"

    model_type: Literal["qwen2_vl_vision"]
    embed_dim: Count = 1280
    """Width of a token inside the encoder."""
    hidden_size: Count = 3584
    """Width of a token behind the merger, that of the language model."""
    hidden_act: Activation = "quick_gelu"
    """Activation of the MLP."""
    mlp_ratio: Few = 4
    """Width of the MLP inside a block, in multiples of embed_dim."""

    @property
    def width(self) -> int:
        return self.embed_dim

    @property
    def merged_width(self) -> int:
        return self.hidden_size

    @property
    def mlp_width(self) -> int:
        return self.embed_dim * self.mlp_ratio
