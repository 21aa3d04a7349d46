"""Janus's connector: ``JanusVisionAlignerMLP`` of transformers."""

from __future__ import annotations

from typing import Literal

from ..encoders.base import Activation, Depth
from .base import ConnectorConfig


class JanusConnectorConfig(ConnectorConfig):
    """Linear layers on every token, with an activation between them."""

    type: Literal["janus"]
    depth: Depth = 2
    """Linear layers."""
    act: Activation = "gelu"
    """Activation between two layers: that of the tower's MLPs."""
