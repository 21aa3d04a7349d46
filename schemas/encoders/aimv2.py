"""AIMv2's vision tower: ``Aimv2VisionConfig`` of transformers."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic_core import InitErrorDetails

from ..base import problem
from .base import Activation, Count, DenseEncoderConfig, Depth, Epsilon, Probability, SquareSize


class Aimv2VisionEncoderConfig(DenseEncoderConfig):
    """AIMv2 ViT: no prefix tokens, RMSNorm, a gated MLP, an attention-pooling head."""

    inert_fields: ClassVar[frozenset[str]] = DenseEncoderConfig.inert_fields | {"use_head"}

    model_type: Literal["aimv2_vision_model"]
    hidden_size: Count = 1024
    intermediate_size: Count = 2816
    """Width of the MLP inside a block."""
    num_hidden_layers: Depth = 24
    num_attention_heads: Count = 8
    patch_size: SquareSize = 14
    hidden_act: Activation = "silu"
    """Activation of the MLP's gate."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    rms_norm_eps: Epsilon = 1e-5
    """Epsilon of every RMSNorm."""
    qkv_bias: bool = False
    """Whether the attention projections have a bias."""
    mlp_bias: bool = False
    """Whether the MLP's projections have a bias."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""
    use_head: bool = True
    """Whether the checkpoint carries the attention-pooling head."""
    is_native: bool = False
    """Native resolution: sinusoidal positions for an image of any size instead of a learned table."""

    @property
    def has_head(self) -> bool:
        return self.use_head

    def _check(self) -> list[InitErrorDetails]:
        problems = super()._check()
        if self.is_native and self.hidden_size % 4:
            problems.append(
                problem(
                    "VC208",
                    f"the sinusoidal positions of is_native need a multiple of 4, not {self.hidden_size}",
                    "hidden_size",
                    value=self.hidden_size,
                )
            )
        return problems
