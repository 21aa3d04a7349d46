"""Janus's vision tower: ``JanusVisionConfig`` of transformers."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic_core import InitErrorDetails

from .base import (
    Activation,
    Count,
    DenseEncoderConfig,
    Depth,
    Epsilon,
    Probability,
    SquareSize,
    check_ratio,
)


class JanusVisionEncoderConfig(DenseEncoderConfig):
    """Janus ViT: no prefix tokens, learned positions."""

    inert_fields: ClassVar[frozenset[str]] = DenseEncoderConfig.inert_fields | {
        "hidden_dropout_rate",
        "projection_dropout",
    }
    foreign_fields: ClassVar[frozenset[str]] = frozenset({"depth", "num_image_tokens"})

    model_type: Literal["janus_vision_model"]
    hidden_size: Count = 1024
    num_hidden_layers: Depth = 24
    num_attention_heads: Count = 16
    image_size: SquareSize = 384
    mlp_ratio: Annotated[float, Field(gt=0, le=1_024)] = 4.0
    """Width of the MLP inside a block over hidden_size."""
    hidden_act: Activation = "gelu"
    """Activation of the MLP."""
    layer_norm_eps: Epsilon = 1e-6
    """Epsilon of every LayerNorm."""
    attention_bias: bool = True
    """Whether query, key and value have a bias."""
    use_qk_norm: Literal[False] = False
    """Norms on queries and keys; transformers cannot run them."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    projection_dropout: Probability = 0.0
    """Dropout behind attention, in training only."""
    hidden_dropout_rate: Probability = 0.0
    """Dropout inside the MLP, in training only."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""

    @property
    def mlp_width(self) -> int:
        """Width of the MLP inside a block."""
        return int(self.hidden_size * self.mlp_ratio)

    def _check(self) -> list[InitErrorDetails]:
        return [*super()._check(), *check_ratio(self, self.mlp_width, self.mlp_ratio)]
