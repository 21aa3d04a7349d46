"""VipLlava's connector: ``VipLlavaMultiModalProjector`` of transformers."""

from __future__ import annotations

from typing import ClassVar, Literal

from ..encoders.base import Activation, Epsilon
from .base import ConnectorConfig


class VipLlavaConnectorConfig(ConnectorConfig):
    """A norm over all selected hidden states, and LLaVA's two linear layers."""

    behind_several: ClassVar = True

    type: Literal["vipllava"]
    act: Activation = "gelu"
    """Activation between the two linear layers."""
    layer_norm_eps: Epsilon = 1e-5
    """Epsilon of the norm."""
