"""Phi-4-multimodal's vision tower: ``Phi4MultimodalVisionConfig`` of transformers."""

from __future__ import annotations

from typing import ClassVar, Literal

from .base import Activation, Count, DenseEncoderConfig, Depth, Epsilon, Probability, SquareSize


class Phi4MultimodalVisionEncoderConfig(DenseEncoderConfig):
    """Phi-4-multimodal's ViT: SigLIP's, on tiles of which a mask says what is padding."""

    foreign_fields: ClassVar[frozenset[str]] = frozenset({"crop_size", "feature_layer", "image_token_id"})

    model_type: Literal["phi4_multimodal_vision"]
    hidden_size: Count = 1152
    intermediate_size: Count = 4304
    """Width of the MLP inside a block."""
    num_hidden_layers: Depth = 27
    num_attention_heads: Count = 16
    image_size: SquareSize = 448
    patch_size: SquareSize = 14
    hidden_act: Activation = "gelu_pytorch_tanh"
    """Activation of the MLP."""
    layer_norm_eps: Epsilon = 1e-6
    """Epsilon of every norm."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
