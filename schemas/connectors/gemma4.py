"""Gemma 4's connector: ``Gemma4MultimodalEmbedder`` of transformers."""

from __future__ import annotations

from typing import Literal

from .base import ConnectorConfig


class Gemma4ConnectorConfig(ConnectorConfig):
    """A norm without weights, and one linear layer."""

    type: Literal["gemma4"]
