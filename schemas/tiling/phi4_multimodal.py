"""Phi-4-multimodal's tiling: ``Phi4MultimodalImageProcessor`` of transformers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import TilingConfig


class Phi4MultimodalTilingConfig(TilingConfig):
    """As many tiles as an image fills, padded with white; in front of them the padded image shrunk to one."""

    type: Literal["phi4_multimodal"]
    dynamic_hd: Annotated[int, Field(ge=1, le=128)] = 36
    """Most tiles, without the image whole."""
