"""Kimi K2.5's connector: ``Kimi_K25MultimodalProjection`` of transformers."""

from __future__ import annotations

from typing import Literal

from ..encoders.base import Epsilon
from .base import ConnectorConfig


class KimiK25ConnectorConfig(ConnectorConfig):
    """A norm on every patch, and two linear layers on every square of patches."""

    type: Literal["kimi_k25"]
    layer_norm_eps: Epsilon = 1e-5
    """Epsilon of the norm: projection_layer_norm_eps in transformers."""
