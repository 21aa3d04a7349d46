"""Ovis2's connector: the head of ``Ovis2VisionModel`` and ``Ovis2VisualEmbeddingTable`` of transformers."""

from __future__ import annotations

from typing import Literal

from ..encoders.base import Extra, Rows
from .base import ConnectorConfig


class Ovis2ConnectorConfig(ConnectorConfig):
    """A linear layer and a norm make a distribution over a table of visual words, whose rows it weighs."""

    type: Literal["ovis2"]
    vocab_size: Rows = 16384
    """Rows of the table, with those of the indicators."""
    num_visual_indicator_tokens: Extra = 5
    """Rows of the table that mark where images begin and end, and that no image is made of."""
    tokenize_function: Literal["softmax", "st_argmax"] = "softmax"
    """What makes the distribution: a softmax, or the most probable row alone."""
