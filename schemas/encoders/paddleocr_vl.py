"""PaddleOCR-VL's vision tower: ``PaddleOCRVisionConfig`` of transformers."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic_core import InitErrorDetails

from .base import (
    Activation,
    Count,
    DenseEncoderConfig,
    Depth,
    Epsilon,
    Few,
    Probability,
    RopeType,
    SquareSize,
    check_rope,
)


class PaddleOCRVLVisionEncoderConfig(DenseEncoderConfig):
    """PaddleOCR-VL ViT: SigLIP's blocks with a rope over rows and columns, images at their own size."""

    rope_type: ClassVar[RopeType] = "rope_2d"
    packed: ClassVar[bool] = True

    model_type: Literal["paddleocr_vl_vision"]
    hidden_size: Count = 1152
    intermediate_size: Count = 4304
    """Width of the MLP inside a block."""
    num_hidden_layers: Depth = 27
    num_attention_heads: Count = 16
    image_size: SquareSize = 384
    """Side in pixels of the square image whose patches the position table has rows for."""
    patch_size: SquareSize = 14
    spatial_merge_size: Few = 2
    """Side of the squares of patches that the connector merges: sides are multiples of it."""
    hidden_act: Activation = "gelu_pytorch_tanh"
    """Activation of the MLP."""
    layer_norm_eps: Epsilon = 1e-6
    """Epsilon of every LayerNorm."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    rope_parameters: dict[str, Any] | None = None
    """The rope's parameters in transformers' form; null for the family's own."""

    def _check(self) -> list[InitErrorDetails]:
        return [*super()._check(), *check_rope(self)]
