"""LLaVA-OneVision's connector, which puts tiles together again, and makes them smaller if there are many."""

from __future__ import annotations

from typing import Literal

from ..encoders.base import Few
from .llava import LlavaFields


class LlavaOnevisionConnectorConfig(LlavaFields):
    """LLaVA-NeXT's, with the tiles' lines interpolated where they are more than some tiles' worth."""

    type: Literal["llava_onevision"]
    max_patches: Few = 9
    """Tiles whose rows an image may have before it is made smaller: 9 for ``anyres_max_9``."""
