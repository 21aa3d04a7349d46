"""DINOv2 with registers: ``Dinov2WithRegistersConfig`` of transformers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import Activation, Count, DenseEncoderConfig, Epsilon, Probability


class Dinov2WithRegistersEncoderConfig(DenseEncoderConfig):
    """DINOv2 ViT with register tokens between the class token and the patches."""

    model_type: Literal["dinov2_with_registers"]
    mlp_ratio: Count = 4
    """Width of the MLP inside a block, in multiples of hidden_size."""
    hidden_act: Activation = "gelu"
    """Activation of the MLP."""
    hidden_dropout_prob: Probability = 0.0
    """Dropout on hidden states, in training only."""
    attention_probs_dropout_prob: Probability = 0.0
    """Dropout on attention weights, in training only."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""
    layer_norm_eps: Epsilon = 1e-6
    """Epsilon of every LayerNorm."""
    qkv_bias: bool = True
    """Whether query, key and value projections have a bias."""
    layerscale_value: float = 1.0
    """Initial layer scale."""
    drop_path_rate: Probability = 0.0
    """Stochastic depth, in training only."""
    use_swiglu_ffn: bool = False
    """Gated MLP, as in the giant model."""
    num_register_tokens: Annotated[int, Field(ge=0)] = 4
    """Register tokens behind the class token."""

    @property
    def num_prefix_tokens(self) -> int:
        return 1 + self.num_register_tokens
