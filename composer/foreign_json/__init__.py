"""Configs of other libraries, timm's and open_clip's, as keys of a config of ours. Loads no torch."""

from __future__ import annotations

from typing import Any

from .fields import Fields, Foreign
from .open_clip import from_open_clip
from .timm import from_timm

OPEN_CLIP_CONFIG = "open_clip_config.json"
"""What open_clip calls its config; timm's is called config.json, as that of transformers."""


def foreign_config(fields: dict[str, Any]) -> Foreign | None:
    """Return what a config of timm or open_clip says; None if it is none.

    Raises:
        ConfigError: If no family fits its encoder, or a value is of no use.
    """
    if "model_type" in fields:
        return None
    if "architecture" in fields:
        return from_timm(Fields(fields))
    if "model_cfg" in fields or "vision_cfg" in fields:
        return from_open_clip(Fields(fields))
    return None


__all__ = ["OPEN_CLIP_CONFIG", "Foreign", "foreign_config"]
