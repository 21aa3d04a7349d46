"""LLaVA-OneVision's tiling: ``LlavaOnevisionImageProcessor`` of transformers."""

from __future__ import annotations

from itertools import product
from typing import Literal

from .base import TilingConfig
from .llava_next import Pinpoints

_SIDES = tuple(range(384, 2305, 384))


class LlavaOnevisionTilingConfig(TilingConfig):
    """AnyRes as LLaVA-NeXT's, with more canvases."""

    type: Literal["llava_onevision"]
    image_grid_pinpoints: Pinpoints = tuple(product(_SIDES, _SIDES))
    """The canvases to choose from."""
