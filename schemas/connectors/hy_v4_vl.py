"""Hy4's connector: ``HYV4VLVisionPatchMerger`` of transformers."""

from __future__ import annotations

from typing import Literal

from ..encoders.base import Activation, Epsilon
from .base import ConnectorConfig


class HYV4VLConnectorConfig(ConnectorConfig):
    """Convolutions over squares of patches, and a learned token behind each line."""

    type: Literal["hy_v4_vl"]
    act: Activation = "gelu"
    """Activation between the convolutions: hidden_act of the tower."""
    rms_norm_eps: Epsilon = 1e-5
    """Epsilon of the norm: that of the tower."""
