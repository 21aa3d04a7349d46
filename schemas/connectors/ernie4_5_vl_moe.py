"""ERNIE 4.5 VL's connector: ``Ernie4_5_VLMoeVariableResolutionResamplerModel`` of transformers."""

from __future__ import annotations

from typing import Literal

from ..encoders.base import Epsilon
from .base import ConnectorConfig


class Ernie45VLConnectorConfig(ConnectorConfig):
    """An MLP on every square of patches, one on every pair of frames, a linear layer and a norm."""

    type: Literal["ernie4_5_vl_moe"]
    layer_norm_eps: Epsilon = 1e-6
    """Epsilon of the LayerNorms of both MLPs: rms_norm_eps of the tower."""
    rms_norm_eps: Epsilon = 1e-5
    """Epsilon of the last norm: that of the language model."""
