"""Ovis2's vision tower: ``Ovis2VisionConfig`` of transformers."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic_core import InitErrorDetails

from ..base import problem
from .base import (
    Activation,
    Count,
    DenseEncoderConfig,
    Depth,
    Epsilon,
    Extra,
    Few,
    Probability,
    Rows,
    SquareSize,
)


class Ovis2VisionEncoderConfig(DenseEncoderConfig):
    """Ovis2 ViT: AIMv2's blocks; its own output has squares of tokens side by side."""

    merger: ClassVar[bool] = True
    inert_fields: ClassVar[frozenset[str]] = DenseEncoderConfig.inert_fields | {
        "num_visual_indicator_tokens",
        "tokenize_function",
        "vocab_size",
    }

    model_type: Literal["ovis2_vision"]
    hidden_size: Count = 1024
    intermediate_size: Count = 2816
    """Width of the MLP inside a block."""
    num_hidden_layers: Depth = 24
    num_attention_heads: Count = 8
    patch_size: SquareSize = 14
    rms_norm_eps: Epsilon = 1e-5
    """Epsilon of every RMSNorm."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    qkv_bias: bool = False
    """Whether the attention projections have a bias."""
    mlp_bias: bool = False
    """Whether the MLP's projections have a bias."""
    hidden_act: Activation = "silu"
    """Activation of the MLP's gate."""
    hidden_stride: Few = 1
    """Tokens along a side of the squares that the own output joins."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""
    vocab_size: Rows = 16384
    """Not used: the connector has its own."""
    num_visual_indicator_tokens: Extra = 5
    """Not used: the connector has its own."""
    tokenize_function: str = "softmax"
    """Not used: the connector has its own."""

    @property
    def merged_width(self) -> int:
        """Width of a token of the own output."""
        return self.hidden_size * self.hidden_stride**2

    def _check(self) -> list[InitErrorDetails]:
        problems, side = super()._check(), self.image_size // self.patch_size
        if side % self.hidden_stride:
            message = f"{self.hidden_stride} does not divide the {side} patches along a side"
            problems.append(problem("VC208", message, "hidden_stride", value=self.hidden_stride))
        return problems
