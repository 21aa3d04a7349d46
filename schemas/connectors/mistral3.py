"""Mistral 3's and LightOnOCR's connector: ``Mistral3MultiModalProjector`` of transformers."""

from __future__ import annotations

from typing import Literal

from ..encoders.base import Epsilon
from .internvl import Factor
from .llava import LlavaFields


class Mistral3ConnectorConfig(LlavaFields):
    """A norm, squares of tokens merged by a linear layer, and two linear layers."""

    type: Literal["mistral3"]
    bias: bool = False
    """Whether the last two linear layers have biases."""
    spatial_merge_size: Factor = 2
    """Tokens along a side of the square that becomes one row."""
    rms_norm_eps: Epsilon = 1e-5
    """Epsilon of the norm: that of the language model."""
