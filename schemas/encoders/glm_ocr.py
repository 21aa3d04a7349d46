"""GLM-OCR's vision tower: ``GlmOcrVisionConfig`` of transformers."""

from __future__ import annotations

from typing import Literal

from .base import Count
from .glm4v import Glm4vVisionEncoderConfig


class GlmOcrVisionEncoderConfig(Glm4vVisionEncoderConfig):
    """GLM-OCR ViT: GLM-4V's without a position table, with norms of queries and keys."""

    model_type: Literal["glm_ocr_vision"]  # type: ignore[assignment]  # its own name
    hidden_size: Count = 1024
    """Width of a token inside the encoder."""
    num_heads: Count = 16
    """Attention heads per block; must divide hidden_size."""
    attention_bias: bool = True
    """Whether the linear layers of a block have biases."""
    out_hidden_size: Count = 1536
    """Width of a token behind the merger, that of the language model."""
    intermediate_size: Count = 4096
    """Width of the MLP inside a block."""

    @property
    def mlp_width(self) -> int:
        return self.intermediate_size

    @property
    def merger_width(self) -> int:
        return self.out_hidden_size * self.in_channels
