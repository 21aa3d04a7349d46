"""LLaVA-OneVision's tiling, AnyRes."""

from __future__ import annotations

from typing import ClassVar

from ...schemas.tiling.llava_onevision import LlavaOnevisionTilingConfig
from .llava_next import AnyRes


class LlavaOnevisionTiling(AnyRes[LlavaOnevisionTilingConfig]):
    """LLaVA-NeXT's way to cut an image, as it is done for the only image of a prompt."""

    type = "llava_onevision"
    processor = "LlavaOnevisionImageProcessor"
    read_by: ClassVar = ("llava_onevision",)
