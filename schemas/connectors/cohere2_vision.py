"""Cohere 2 Vision's connector: ``Cohere2VisionMultiModalProjector`` of transformers."""

from __future__ import annotations

from typing import ClassVar, Literal

from ..encoders.base import Count
from .base import ConnectorConfig
from .internvl import Factor


class Cohere2VisionConnectorConfig(ConnectorConfig):
    """A square of tokens becomes one, which a gated MLP projects."""

    behind_several: ClassVar = True

    type: Literal["cohere2_vision"]
    downsample_factor: Factor = 2
    """Tokens along a side of the square that becomes one row."""
    intermediate_size: Count = 36_864
    """Width of the first linear layer: values and gates."""
