"""Phi-4-multimodal's connector: ``Phi4MultimodalImageEmbedding`` of transformers."""

from __future__ import annotations

from typing import Literal

from .base import ConnectorConfig


class Phi4MultimodalConnectorConfig(ConnectorConfig):
    """Squares of 2 x 2 patches averaged, learned separators between lines and views, and two layers."""

    type: Literal["phi4_multimodal"]
