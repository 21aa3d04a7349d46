"""Cosmos 3 Edge's connector: ``Cosmos3EdgePatchMerger`` of transformers."""

from __future__ import annotations

from typing import Literal

from ..encoders.base import Count
from .base import ConnectorConfig


class Cosmos3EdgeConnectorConfig(ConnectorConfig):
    """A norm on every patch, and two linear layers on every square of patches."""

    type: Literal["cosmos3_edge"]
    projector_hidden_size: Count = 11520
    """Width between the two linear layers."""
