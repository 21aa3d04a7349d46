"""LLaVA-NeXT's connector, which puts tiles together again."""

from __future__ import annotations

from typing import Literal

from .llava import LlavaFields


class LlavaNextConnectorConfig(LlavaFields):
    """LLaVA's layers on every tile; then the whole image, and the tiles as one image without its padding,
    a learned row behind each line."""

    type: Literal["llava_next"]
