"""Molmo2's tiling: the crops of ``Molmo2ImageProcessor`` of transformers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..encoders.base import Extra, Few
from .base import TilingConfig


class Molmo2TilingConfig(TilingConfig):
    """The image whole, and behind it crops of the canvas that enlarges it least, which overlap."""

    type: Literal["molmo2"]
    max_crops: Few = 8
    """Most crops, without the image whole."""
    overlap_margins: Annotated[tuple[Extra, Extra], Field(strict=False, examples=[[4, 4]])] = (4, 4)
    """Patches by which a crop reaches into the one before it, and into the one behind it."""
