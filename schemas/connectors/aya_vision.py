"""Aya Vision's connector: ``AyaVisionMultiModalProjector`` of transformers."""

from __future__ import annotations

from typing import ClassVar, Literal

from ..encoders.base import Count, Epsilon
from .base import ConnectorConfig
from .internvl import Factor


class AyaVisionConnectorConfig(ConnectorConfig):
    """A square of tokens becomes one, which a norm and a gated MLP project."""

    behind_several: ClassVar = True

    type: Literal["aya_vision"]
    downsample_factor: Factor = 2
    """Tokens along a side of the square that becomes one row."""
    intermediate_size: Count = 28_672
    """Width of the first linear layer: values and gates."""
    layer_norm_eps: Epsilon = 1e-6
    """Epsilon of the norm."""
