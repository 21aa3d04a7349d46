"""Molmo2's vision tower: ``Molmo2VisionConfig`` of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic_core import InitErrorDetails

from ..base import problem
from .base import (
    Activation,
    Count,
    DenseEncoderConfig,
    Depth,
    Epsilon,
    Probability,
    Rows,
    SquareSize,
    check_key_value_heads,
)


class Molmo2VisionEncoderConfig(DenseEncoderConfig):
    """Molmo2's ViT: SigLIP's blocks without a last norm, which takes crops as rows of patches."""

    aliases: ClassVar[Mapping[str, str]] = {
        "image_default_input_size": "image_size",
        "image_patch_size": "patch_size",
        "image_num_pos": "num_position_embeddings",
    }

    model_type: Literal["molmo2_vision"]
    hidden_size: Count = 1152
    intermediate_size: Count = 4304
    """Width of the MLP inside a block."""
    num_hidden_layers: Depth = 25
    num_attention_heads: Count = 16
    num_key_value_heads: Count = 16
    """Heads of keys and values; must divide the heads of queries."""
    head_dim: Count = 72
    """Width of one attention head."""
    hidden_act: Activation = "gelu_pytorch_tanh"
    """Activation of the MLP."""
    layer_norm_eps: Epsilon = 1e-6
    """Epsilon of every norm."""
    image_size: SquareSize = 378
    patch_size: SquareSize = 14
    num_position_embeddings: Rows | None = None
    """Rows of the position table: one for every patch of a crop."""
    attention_bias: bool = True
    """Whether attention's projections have biases."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""

    @property
    def has_post_norm(self) -> bool:
        return False

    @property
    def head_size(self) -> int:
        return self.head_dim

    def _check(self) -> list[InitErrorDetails]:
        problems = [*super()._check(), *check_key_value_heads(self, self.num_key_value_heads)]
        patches = (self.image_size // self.patch_size) ** 2
        if self.num_position_embeddings not in (None, patches):
            message = f"{self.num_position_embeddings} positions do not fit the {patches} patches of a crop"
            problems.append(
                problem("VC208", message, "num_position_embeddings", value=self.num_position_embeddings)
            )
        return problems
