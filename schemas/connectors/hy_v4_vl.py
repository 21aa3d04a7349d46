"""Hy4's connector: ``HYV4VLVisionPatchMerger`` of transformers."""

from __future__ import annotations

from typing import Literal

from .hunyuan_vl import HunYuanFields


class HYV4VLConnectorConfig(HunYuanFields):
    """Convolutions over squares of patches, and a learned token behind each line."""

    type: Literal["hy_v4_vl"]
