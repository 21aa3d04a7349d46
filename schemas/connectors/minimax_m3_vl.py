"""MiniMax-M3-VL's connector: ``MiniMaxM3VLMultiModalProjector`` of transformers."""

from __future__ import annotations

from typing import Literal

from ..encoders.base import Count
from .base import ConnectorConfig


class MiniMaxM3VLConnectorConfig(ConnectorConfig):
    """Two linear layers on every patch, then two on every square of patches."""

    type: Literal["minimax_m3_vl"]
    projector_hidden_size: Count = 6144
    """Width between the two linear layers of each pair."""
