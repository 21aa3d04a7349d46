"""Granite Docling's vision tower: ``GraniteDoclingVisionConfig`` of transformers, without its connector."""

from __future__ import annotations

from typing import ClassVar, Literal

from .base import Activation, Count, DenseEncoderConfig, Epsilon, Probability, SquareSize


class GraniteDoclingVisionEncoderConfig(DenseEncoderConfig):
    """A SigLIP ViT without a head that takes tiles of one size."""

    foreign_fields: ClassVar[frozenset[str]] = frozenset(
        {"out_hidden_size", "scale_factor", "use_fine_route"}
    )

    model_type: Literal["granite_docling_vision"]
    hidden_size: Count = 768
    intermediate_size: Count = 3072
    """Width of the MLP inside a block."""
    image_size: SquareSize = 512
    """Side in pixels of a tile."""
    patch_size: SquareSize = 16
    hidden_act: Activation = "gelu_pytorch_tanh"
    """Activation of the MLP."""
    layer_norm_eps: Epsilon = 1e-6
    """Epsilon of every LayerNorm."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""
