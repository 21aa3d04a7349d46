"""What the vision towers of Idefics2, Idefics3 and SmolVLM have in common."""

from __future__ import annotations

from typing import ClassVar

from .base import Activation, Count, DenseEncoderConfig, Epsilon, Probability, SquareSize


class IdeficsVisionEncoderConfig(DenseEncoderConfig):
    """A SigLIP ViT without head that takes images of any size, their positions spread over one table."""

    packed: ClassVar[bool] = True

    intermediate_size: Count = 3072
    """Width of the MLP inside a block."""
    image_size: SquareSize = 224
    """Side in pixels of the square image whose patches the position table has a row for."""
    patch_size: SquareSize = 32
    hidden_act: Activation = "gelu_pytorch_tanh"
    """Activation of the MLP."""
    layer_norm_eps: Epsilon = 1e-6
    """Epsilon of every LayerNorm."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""
