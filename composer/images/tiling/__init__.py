"""The ways to cut an image into tiles, one file each. Loads no torch.

A tiling is two files of one name: its config block in ``vision_composer.schemas.tiling``, and here a subclass
of ``Tiling`` with a ``type`` of its own. Nothing lists the files: they are found by their names.
"""

from __future__ import annotations

from ...schemas.tiling import TILING_CONFIGS, TilingConfig
from ...typed import classes_by_type
from ..resize import ResizeRule
from .base import AnyTiling, Box, TilePlan, Tiling

TILINGS: dict[str, type[AnyTiling]] = classes_by_type(__name__, TILING_CONFIGS, Tiling)
"""type -> tiling."""


def tiling_of(config: TilingConfig, side: int, resize: ResizeRule | None = None) -> AnyTiling:
    """Return the tiling of a config block; arguments as those of ``Tiling``."""
    return TILINGS[config.type](config, side, resize)


__all__ = ["TILINGS", "AnyTiling", "Box", "TilePlan", "Tiling", "tiling_of"]
