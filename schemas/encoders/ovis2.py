"""Ovis2's vision tower: ``Ovis2VisionConfig`` of transformers, without its head."""

from __future__ import annotations

from typing import ClassVar, Literal

from .base import Activation, Count, DenseEncoderConfig, Depth, Epsilon, Probability, SquareSize


class Ovis2VisionEncoderConfig(DenseEncoderConfig):
    """AIMv2's ViT as Ovis2 has it: no prefix tokens, learned positions, RMSNorm, a gated MLP."""

    foreign_fields: ClassVar[frozenset[str]] = frozenset(
        {"hidden_stride", "num_visual_indicator_tokens", "tokenize_function", "vocab_size"}
    )

    model_type: Literal["ovis2_vision"]
    hidden_size: Count = 1024
    intermediate_size: Count = 2816
    """Width of the MLP inside a block."""
    num_hidden_layers: Depth = 24
    num_attention_heads: Count = 8
    patch_size: SquareSize = 14
    rms_norm_eps: Epsilon = 1e-5
    """Epsilon of every RMSNorm."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    qkv_bias: bool = False
    """Whether the attention projections have a bias."""
    mlp_bias: bool = False
    """Whether the MLP's projections have a bias."""
    hidden_act: Activation = "silu"
    """Activation of the MLP's gate."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""
