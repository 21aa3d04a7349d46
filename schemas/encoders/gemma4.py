"""Gemma 4's vision tower: ``Gemma4VisionConfig`` of transformers."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from pydantic_core import InitErrorDetails

from ..base import problem
from .base import (
    Activation,
    Count,
    Depth,
    Epsilon,
    Few,
    PackedEncoderConfig,
    Probability,
    RopeType,
    Rows,
    check_key_value_heads,
)


class Gemma4VisionEncoderConfig(PackedEncoderConfig):
    """Gemma 4 ViT: rope and learned positions over rows and columns, squares of patches pooled to tokens."""

    rope_type: ClassVar[RopeType] = "rope_2d"
    merger: ClassVar[bool] = True
    num_channels: ClassVar[int] = 3  # type: ignore[misc]  # no field of transformers

    model_type: Literal["gemma4_vision"]
    hidden_size: Count = 768
    """Width of a token inside the encoder, and of a pooled one."""
    intermediate_size: Count = 3072
    """Width of the MLP inside a block."""
    num_hidden_layers: Depth = 16
    num_attention_heads: Count = 12
    """Attention heads per block."""
    num_key_value_heads: Count = 12
    """Heads of keys and values, each of which serves as many heads of queries; must divide those."""
    head_dim: Count = 64
    """Width of one attention head; must be a multiple of 4."""
    hidden_activation: Activation = "gelu_pytorch_tanh"
    """Activation of the MLP's gate."""
    rms_norm_eps: Epsilon = 1e-6
    """Epsilon of every RMSNorm."""
    max_position_embeddings: Rows = 131_072
    """Not used by the tower."""
    attention_bias: bool = False
    """Not used by the tower: its projections have no bias."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    rope_parameters: dict[str, Any] | None = None
    """The rope's parameters in transformers' form; null for the family's own."""
    pooling_kernel_size: Annotated[Few, Field(ge=2)] = 3
    """Patches along one side of the square that is pooled into one token. With 1, transformers returns the
    padding in place of the image."""
    position_embedding_size: Rows = 10_240
    """Most patches along one side of an image."""
    use_clipped_linears: bool = False
    """Whether the inputs and outputs of projections are clamped to bounds that the checkpoint brings."""
    standardize: bool = False
    """Whether pooled tokens are shifted and scaled by what the checkpoint brings."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""

    @property
    def head_size(self) -> int:
        return self.head_dim

    @property
    def has_post_norm(self) -> bool:
        return False

    def _check(self) -> list[InitErrorDetails]:
        # Heads have a width of their own here, so they need not divide hidden_size.
        problems = check_key_value_heads(self, self.num_key_value_heads)
        if self.head_dim % 4:
            message = f"the rope needs a head size divisible by 4, not {self.head_dim}"
            problems.append(problem("VC208", message, "head_dim", value=self.head_dim))
        return problems
