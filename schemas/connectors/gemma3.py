"""Gemma 3's connector: ``Gemma3MultiModalProjector`` of transformers."""

from __future__ import annotations

from typing import Literal

from ..encoders.base import Count
from .base import ConnectorConfig


class Gemma3ConnectorConfig(ConnectorConfig):
    """Squares of tokens are averaged, normed, and projected."""

    type: Literal["gemma3"]
    mm_tokens_per_image: Count = 256
    """Rows per image or crop: a square number."""
