"""GLM-4V's vision tower: ``Glm4vVisionConfig`` of transformers."""

from __future__ import annotations

from typing import Literal

from .base import Count, Depth, Epsilon, Probability, SquareSize
from .qwen_vl import QwenVisionEncoderConfig


class Glm4vVisionEncoderConfig(QwenVisionEncoderConfig):
    """GLM-4V ViT: RMSNorm, a gated MLP, a position table and rope, a convolution before the merger."""

    model_type: Literal["glm4v_vision", "glm4v_moe_vision"]
    depth: Depth = 24
    """Blocks in the checkpoint, all of them; negative select_layers count from here."""
    hidden_size: Count = 1536
    """Width of a token inside the encoder."""
    num_heads: Count = 12
    """Attention heads per block; must divide hidden_size."""
    attention_bias: bool = False
    """Whether the projections to queries, keys and values have a bias."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    image_size: SquareSize = 336
    """Side in pixels of the square image whose patches the position table has rows for."""
    rms_norm_eps: Epsilon = 1e-5
    """Epsilon of the RMSNorms."""
    out_hidden_size: Count = 4096
    """Width of a token behind the merger, that of the language model; also of the MLP inside a block."""
    intermediate_size: Count = 13696
    """Width of the merger's MLP."""

    @property
    def merged_width(self) -> int:
        return self.out_hidden_size

    @property
    def mlp_width(self) -> int:
        return self.out_hidden_size

    @property
    def merger_width(self) -> int:
        """Width of the merger's MLP."""
        return self.intermediate_size

    @property
    def has_post_norm(self) -> bool:
        return True
