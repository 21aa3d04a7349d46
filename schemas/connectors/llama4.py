"""Llama 4's connector: ``Llama4MultiModalProjector`` of transformers."""

from __future__ import annotations

from typing import Literal

from .base import ConnectorConfig


class Llama4ConnectorConfig(ConnectorConfig):
    """One linear layer without a bias, behind the tower's own adapter."""

    type: Literal["llama4"]
