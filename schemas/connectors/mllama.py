"""Llama 3.2 Vision's connector: one linear layer."""

from __future__ import annotations

from typing import Literal

from .base import ConnectorConfig


class MllamaConnectorConfig(ConnectorConfig):
    """One linear layer. What it makes stands beside the input embeddings: the language model's
    cross-attention reads it."""

    type: Literal["mllama"]
