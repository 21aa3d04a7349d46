"""Llama 4's vision tower: ``Llama4VisionConfig`` of transformers."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field
from pydantic_core import InitErrorDetails

from ..base import problem
from .base import (
    Activation,
    Count,
    DenseEncoderConfig,
    Depth,
    Epsilon,
    Probability,
    SquareSize,
    check_rope,
)


class Llama4VisionEncoderConfig(DenseEncoderConfig):
    """Llama 4 ViT: learned positions and a rope over rows and columns, a class token behind the patches, and
    an adapter that merges squares of patches."""

    merger: ClassVar[bool] = True

    inert_fields: ClassVar[frozenset[str]] = DenseEncoderConfig.inert_fields | {
        "multi_modal_projector_bias",
        "projector_dropout",
        "vision_feature_select_strategy",
        "vision_output_dim",
    }

    model_type: Literal["llama4_vision_model"]
    hidden_act: Activation = "gelu"
    """Not used: the activation is always gelu."""
    num_hidden_layers: Depth = 34
    num_attention_heads: Count = 16
    intermediate_size: Count = 5632
    """Width of the MLP inside a block, and of a merged token before the adapter's MLP."""
    vision_output_dim: Count = 7680
    """Width that Llama 4's projector takes; the tower does not use it."""
    image_size: SquareSize = 448
    patch_size: SquareSize = 14
    norm_eps: Epsilon = 1e-5
    """Not used: the epsilon of every LayerNorm is 1e-5."""
    vision_feature_select_strategy: str = "default"
    """Not used: Llama 4 reads the adapter's output."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""
    pixel_shuffle_ratio: Annotated[float, Field(ge=0.001, le=1)] = 0.5
    """Side of a patch over the side of a merged token."""
    projector_input_dim: Count = 4096
    """Width inside the adapter's MLP; must be projector_output_dim."""
    projector_output_dim: Count = 4096
    """Width of a merged token."""
    multi_modal_projector_bias: bool = False
    """Not used by the tower."""
    projector_dropout: Probability = 0.0
    """Dropout inside the adapter, in training only."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    rope_parameters: dict[str, Any] | None = None
    """The rope's parameters in transformers' form; null for the family's own."""

    @property
    def num_suffix_tokens(self) -> int:
        return 1

    @property
    def has_class_token(self) -> bool:
        return True

    @property
    def merge_size(self) -> int:
        """Patches along one side of a merged token."""
        return round(1 / self.pixel_shuffle_ratio)

    def _check(self) -> list[InitErrorDetails]:
        problems = [*super()._check(), *check_rope(self)]
        if abs(self.merge_size * self.pixel_shuffle_ratio - 1) > 1e-6:
            message = (
                f"{self.pixel_shuffle_ratio} is not 1 / n of a whole number n: no square of patches fits"
            )
            problems.append(problem("VC208", message, "pixel_shuffle_ratio", value=self.pixel_shuffle_ratio))
        return problems
