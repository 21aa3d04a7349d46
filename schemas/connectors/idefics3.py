"""Idefics3's and SmolVLM's connector: ``Idefics3Connector`` of transformers."""

from __future__ import annotations

from typing import ClassVar, Literal

from .base import ConnectorConfig
from .internvl import Factor


class Idefics3ConnectorConfig(ConnectorConfig):
    """A square of tokens becomes one, which a linear layer projects."""

    behind_several: ClassVar = True

    type: Literal["idefics3"]
    scale_factor: Factor = 2
    """Tokens along a side of the square that becomes one row."""
