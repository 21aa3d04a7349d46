"""Idefics2's tiling: the image splitting of ``Idefics2ImageProcessor`` of transformers."""

from __future__ import annotations

from typing import ClassVar, Literal

from .base import TilingConfig


class Idefics2TilingConfig(TilingConfig):
    """The image's four quarters, and behind them the image whole, each at a size of its own."""

    masked: ClassVar[bool] = True

    type: Literal["idefics2"]
