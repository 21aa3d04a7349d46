"""Pixtral's vision tower: ``PixtralVisionConfig`` of transformers."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from pydantic_core import InitErrorDetails

from .base import Activation, Count, DenseEncoderConfig, Depth, Probability, RopeType, SquareSize, check_rope


class PixtralVisionEncoderConfig(DenseEncoderConfig):
    """Pixtral ViT: images at their own resolution, rope over rows and columns, RMSNorm, a gated MLP."""

    rope_type: ClassVar[RopeType] = "rope_2d"
    packed: ClassVar[bool] = True

    model_type: Literal["pixtral"]
    hidden_size: Count = 1024
    intermediate_size: Count = 4096
    """Width of the MLP inside a block."""
    num_hidden_layers: Depth = 24
    num_attention_heads: Count = 16
    image_size: SquareSize = 1024
    """Longest side in pixels that an image is encoded at."""
    hidden_act: Activation = "gelu"
    """Activation of the MLP's gate."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    rope_parameters: Annotated[
        dict[str, Any] | None, Field(examples=[{"rope_type": "default", "rope_theta": 10000.0}])
    ] = None
    """The rope's parameters in transformers' form; null for the family's own."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""

    @property
    def has_post_norm(self) -> bool:
        return False

    def _check(self) -> list[InitErrorDetails]:
        return [*super()._check(), *check_rope(self)]
