"""The tiling of ``Cohere2VisionImageProcessor`` of transformers."""

from __future__ import annotations

from typing import Literal

from ..encoders.base import Few
from .base import TilingConfig


class Cohere2VisionTilingConfig(TilingConfig):
    """The canvas of tiles that enlarges the image least, filled; behind several tiles the image whole."""

    type: Literal["cohere2_vision"]
    max_patches: Few = 12
    """Most tiles, without the image whole."""
