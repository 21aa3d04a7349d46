"""Granite Docling's connector: the coarse path of ``GraniteDoclingConnector`` of transformers."""

from __future__ import annotations

from typing import Literal

from .base import ConnectorConfig
from .internvl import Factor


class GraniteDoclingConnectorConfig(ConnectorConfig):
    """Norms around squares of tokens, a linear layer, positions of the squares in their tile, and another
    linear layer. What it makes of inner blocks goes to inner layers of the language model, and not here."""

    type: Literal["granite_docling"]
    scale_factor: Factor = 4
    """Tokens along a side of the square that becomes one row."""
