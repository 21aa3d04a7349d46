"""LLaVA-NeXT's tiling: ``LlavaNextImageProcessor`` of transformers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..encoders.base import Side
from .base import TilingConfig

Pinpoints = Annotated[
    tuple[Annotated[tuple[Side, Side], Field(strict=False)], ...],
    Field(strict=False, min_length=1, max_length=256, examples=[[[336, 672], [672, 336], [672, 672]]]),
]
"""Canvases, each a height and a width in pixels."""


class LlavaNextTilingConfig(TilingConfig):
    """AnyRes: of some canvases the one that keeps most of the image, padded; in front the image whole."""

    type: Literal["llava_next"]
    image_grid_pinpoints: Pinpoints = ((336, 672), (672, 336), (672, 672), (1008, 336), (336, 1008))
    """The canvases to choose from."""
