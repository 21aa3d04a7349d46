"""Molmo2's connector: ``Molmo2Adapter`` of transformers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..encoders.base import Activation, Count, Few
from .base import ConnectorConfig


class Molmo2ConnectorConfig(ConnectorConfig):
    """Attention that pools the patches of a window into one row, and a gated MLP."""

    type: Literal["molmo2"]
    num_attention_heads: Count = 16
    """Heads of the pooling."""
    num_key_value_heads: Count = 16
    """Heads of its keys and values."""
    head_dim: Count = 72
    """Width of one head."""
    attention_bias: bool = True
    """Whether the pooling's projections have biases."""
    act: Activation = "silu"
    """Activation of the gated MLP."""
    intermediate_size: Count = 18_944
    """Width inside the gated MLP."""
    mlp_bias: bool = False
    """Whether the gated MLP's first two layers have biases."""
    pooling_size: Annotated[tuple[Few, Few], Field(strict=False, examples=[[2, 2]])] = (2, 2)
    """Rows and columns of patches that become one row; an argument of the image processor."""
