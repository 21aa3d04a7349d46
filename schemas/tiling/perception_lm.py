"""PerceptionLM's tiling: ``PerceptionLMImageProcessor`` of transformers."""

from __future__ import annotations

from typing import Literal

from ..encoders.base import Few
from .base import TilingConfig


class PerceptionLmTilingConfig(TilingConfig):
    """The canvas on which the image is enlarged most, filled; in front of its tiles the image whole."""

    type: Literal["perception_lm"]
    max_num_tiles: Few = 36
    """Most tiles, without the image whole."""
