"""DINOv2: ``Dinov2Config`` of transformers."""

from __future__ import annotations

from typing import Literal

from .base import Activation, DenseEncoderConfig, Epsilon, Few, Probability, SquareSize


class Dinov2Fields(DenseEncoderConfig):
    """What DINOv2 has with registers and without."""

    mlp_ratio: Few = 4
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


class Dinov2EncoderConfig(Dinov2Fields):
    """DINOv2 ViT: a class token, learned positions interpolated to any size, layer scale."""

    model_type: Literal["dinov2"]
    patch_size: SquareSize = 14
    use_mask_token: bool = True
    """Whether the checkpoint carries the mask token of pre-training; the tower does not use it."""

    @property
    def num_prefix_tokens(self) -> int:
        return 1
