"""Inkling 2's vision tower: ``Inkling2VisionConfig`` of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic_core import InitErrorDetails

from .base import (
    Activation,
    Count,
    Depth,
    Epsilon,
    Few,
    Probability,
    RopedEncoderConfig,
    SquareSize,
    check_ratio,
)


class Inkling2VisionEncoderConfig(RopedEncoderConfig):
    """Inkling 2 ViT: layer scale, a class token that no one reads, a position table, a rope and a merger."""

    merger: ClassVar[bool] = True
    feeds_language_model: ClassVar[bool] = True
    aliases: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"native_patch_size": "patch_size", "adapter_merge_size": "spatial_merge_size"}
    )

    model_type: Literal["inkling2_vision"]
    hidden_size: Count = 1024
    intermediate_size: Annotated[Count | None, Field(examples=[4096])] = None
    """Width of the MLP inside a block; null: mlp_ratio times hidden_size."""
    num_hidden_layers: Depth = 23
    patch_size: SquareSize = 20
    hidden_act: Activation = "gelu"
    """Activation of the MLP and of the merger."""
    layer_norm_eps: Epsilon = 1e-5
    """Epsilon of the LayerNorms."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    mlp_ratio: Annotated[float, Field(gt=0, le=128)] = 4.0
    """Width of the MLP inside a block, in widths of a token, where intermediate_size does not say it."""
    layer_scale_init_value: float = 0.1
    """Initial layer scale."""
    spatial_merge_size: Few = 2
    """Patches along one side of the square that the merger makes one token of."""
    posemb_grid_size: Count = 32
    """Rows and columns of the position table."""
    projection_hidden_dim: Count = 4096
    """Width between the merger's linear layers."""
    projector_bias: bool = False
    """Whether the merger's linear layers have biases."""
    text_hidden_size: Count = 4608
    """Width of a token behind the merger, that of the language model."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""

    @property
    def mlp_width(self) -> int:
        """Width of the MLP inside a block."""
        return self.intermediate_size or int(self.hidden_size * self.mlp_ratio)

    @property
    def merged_width(self) -> int:
        return self.text_hidden_size

    @property
    def has_post_norm(self) -> bool:
        return False

    def _check(self) -> list[InitErrorDetails]:
        return [*super()._check(), *check_ratio(self, self.mlp_width, self.mlp_ratio)]
