"""LFM3-VL's connector: ``Lfm3VlMultiModalProjector`` of transformers."""

from __future__ import annotations

from typing import Literal

from ..encoders.base import Activation, Count
from .base import ConnectorConfig


class Lfm3VlConnectorConfig(ConnectorConfig):
    """A norm on every patch, and two linear layers on every square, whose patches stand side by side."""

    type: Literal["lfm3_vl"]
    intermediate_size: Count = 4096
    """Width between the two linear layers."""
    act: Activation = "gelu"
    """Activation between the two linear layers."""
    bias: bool = True
    """Whether the linear layers have biases."""
