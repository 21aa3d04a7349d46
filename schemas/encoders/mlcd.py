"""MLCD's vision tower: ``MLCDVisionConfig`` of transformers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field
from pydantic_core import InitErrorDetails

from ..base import ConfigModel, whole_number
from .base import Activation, Count, DenseEncoderConfig, Depth, Epsilon, Probability, SquareSize, check_rope


class AxialRope(ConfigModel):
    """The rope over patch rows and columns, in transformers' form."""

    rope_type: Literal["axial"] = "axial"
    """transformers' name of the rope."""
    rope_theta: Annotated[float, Field(gt=0)] = 10000.0
    """Base period."""


class MLCDVisionEncoderConfig(DenseEncoderConfig):
    """MLCD ViT: CLIP's layout with axial rope instead of a position table, so any image size goes."""

    model_type: Literal["mlcd_vision_model"]
    hidden_size: Count = 1664
    intermediate_size: Count = 8192
    """Width of the MLP inside a block."""
    num_hidden_layers: Depth = 48
    num_attention_heads: Count = 16
    num_key_value_groups: Annotated[Literal[1], BeforeValidator(whole_number)] = 1
    """Query heads per key-value head; transformers' attention supports 1."""
    image_size: SquareSize = 336
    patch_size: SquareSize = 14
    hidden_act: Activation = "gelu"
    """Activation of the MLP."""
    layer_norm_eps: Epsilon = 1e-5
    """Epsilon of every LayerNorm."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""
    initializer_factor: float = 1.0
    """Scale of random initialisation."""
    rope_parameters: Annotated[AxialRope | None, Field(examples=[{"rope_theta": 10000.0}])] = None
    """The rope's parameters; null for the family's own."""

    @property
    def num_prefix_tokens(self) -> int:
        return 1

    def _check(self) -> list[InitErrorDetails]:
        return [*super()._check(), *check_rope(self)]
