"""CLIP's vision tower: ``CLIPVisionConfig`` of transformers."""

from __future__ import annotations

from typing import Literal

from .base import Activation, Count, DenseEncoderConfig, Epsilon, Probability, SquareSize


class CLIPVisionEncoderConfig(DenseEncoderConfig):
    """CLIP ViT: a class token, learned positions, a norm in front of the blocks."""

    model_type: Literal["clip_vision_model"]
    intermediate_size: Count = 3072
    """Width of the MLP inside a block."""
    projection_dim: Count = 512
    """Width of CLIP's joint embedding; the tower does not use it."""
    patch_size: SquareSize = 32
    hidden_act: Activation = "quick_gelu"
    """Activation of the MLP."""
    layer_norm_eps: Epsilon = 1e-5
    """Epsilon of every LayerNorm."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""
    initializer_factor: float = 1.0
    """Scale of random initialisation."""

    @property
    def num_prefix_tokens(self) -> int:
        return 1
