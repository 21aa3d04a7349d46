"""VideoLLaMA 3's vision tower: ``VideoLlama3VisionConfig`` of transformers."""

from __future__ import annotations

from typing import Literal

from .base import Activation, Count, Depth, Epsilon, Probability, RopedEncoderConfig


class VideoLlama3VisionEncoderConfig(RopedEncoderConfig):
    """VideoLLaMA 3 ViT: SigLIP's blocks with a rope, images of any size."""

    model_type: Literal["video_llama_3_vision"]
    hidden_size: Count = 768
    intermediate_size: Count = 3072
    """Width of the MLP inside a block."""
    num_hidden_layers: Depth = 12
    num_attention_heads: Count = 12
    hidden_act: Activation = "gelu_pytorch_tanh"
    """Activation of the MLP."""
    layer_norm_eps: Epsilon = 1e-6
    """Epsilon of the LayerNorms."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""
