"""LFM2-VL's connector: ``Lfm2VlMultiModalProjector`` of transformers."""

from __future__ import annotations

from typing import Literal

from ..encoders.base import Activation, Count
from .base import ConnectorConfig
from .internvl import Factor


class Lfm2VlConnectorConfig(ConnectorConfig):
    """A square of tokens becomes one, which two linear layers project, behind a norm if there is one."""

    type: Literal["lfm2_vl"]
    downsample_factor: Factor = 2
    """Tokens along a side of the square that becomes one row."""
    intermediate_size: Count = 2_560
    """Width between the two linear layers."""
    use_layer_norm: bool = True
    """Whether there is a norm in front of them."""
    act: Activation = "gelu"
    """Activation between the two linear layers."""
    bias: bool = True
    """Whether the linear layers have biases."""
