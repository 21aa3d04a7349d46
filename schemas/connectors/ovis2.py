"""Ovis2's connector: its tower's head, and the table of visual words of ``Ovis2Model`` of transformers."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from ..base import invalid, problem
from ..encoders.base import Extra, Rows
from .base import ConnectorConfig
from .internvl import Factor


class Ovis2ConnectorConfig(ConnectorConfig):
    """Squares of tokens become probabilities of visual words, and those a mean of the words' embeddings."""

    type: Literal["ovis2"]
    hidden_stride: Factor = 1
    """Tokens along a side of the square that becomes one row."""
    vocab_size: Rows = 16_384
    """Visual words, indicators among them."""
    num_visual_indicator_tokens: Extra = 5
    """The last of the visual words, which stand for no part of an image."""
    tokenize_function: Literal["softmax", "st_argmax"] = "softmax"
    """How a square chooses visual words: by their probabilities, or the likeliest one. transformers'
    gumbel_argmax draws at random."""

    @model_validator(mode="after")
    def _rules(self) -> Self:
        words, indicators = self.vocab_size, self.num_visual_indicator_tokens
        if indicators >= words:
            message = f"{indicators} indicators leave no word of {words}"
            raise invalid(
                "connector", problem("VC208", message, "num_visual_indicator_tokens", value=indicators)
            )
        return self
