"""HunyuanOCR's connector: ``HunYuanVLVisionPatchMerger`` of transformers."""

from __future__ import annotations

from typing import Literal

from ..encoders.base import Activation, Epsilon
from .base import ConnectorConfig


class HunYuanFields(ConnectorConfig):
    """The fields that HunyuanOCR's and Hy4's connectors share."""

    act: Activation = "gelu"
    """Activation between the convolutions: hidden_act of the tower."""
    rms_norm_eps: Epsilon = 1e-5
    """Epsilon of the norms: that of the tower."""


class HunYuanVLConnectorConfig(HunYuanFields):
    """Convolutions over squares of patches, a learned token behind each line, one in front and one behind."""

    type: Literal["hunyuan_vl"]
