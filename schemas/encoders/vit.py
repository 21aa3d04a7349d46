"""ViT: ``ViTConfig`` of transformers."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .base import Activation, Count, DenseEncoderConfig, Epsilon, Probability


class ViTFields(DenseEncoderConfig):
    """What ViT has in common with I-JEPA."""

    intermediate_size: Count = 3072
    """Width of the MLP inside a block."""
    hidden_act: Activation = "gelu"
    """Activation of the MLP."""
    hidden_dropout_prob: Probability = 0.0
    """Dropout on hidden states, in training only."""
    attention_probs_dropout_prob: Probability = 0.0
    """Dropout on attention weights, in training only."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""
    layer_norm_eps: Epsilon = 1e-12
    """Epsilon of every LayerNorm."""
    qkv_bias: bool = True
    """Whether query, key and value projections have a bias."""
    pooler_output_size: Annotated[Count | None, Field(examples=[768])] = None
    """Width of what the pooling head returns; null for hidden_size."""
    pooler_act: Activation = "tanh"
    """Activation of the pooling head."""


class ViTEncoderConfig(ViTFields):
    """ViT: a class token, learned positions, and a pooling head on the class token."""

    inert_fields: ClassVar[frozenset[str]] = ViTFields.inert_fields | {"encoder_stride"}

    model_type: Literal["vit"]
    encoder_stride: Count = 16
    """Side in pixels of what one token is decoded to in pre-training; the tower does not use it."""

    @property
    def num_prefix_tokens(self) -> int:
        return 1

    @property
    def has_head(self) -> bool:
        return True

    @property
    def pooled_width(self) -> int:
        """Width of what the pooling head returns."""
        return self.pooler_output_size or self.hidden_size
