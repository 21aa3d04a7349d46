"""Gemma 3's tiling: the pan and scan of ``Gemma3ImageProcessor`` of transformers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..encoders.base import Few, Side
from .base import TilingConfig


class Gemma3TilingConfig(TilingConfig):
    """Pan and scan: the image whole, and behind it, if it is long, crops along its longer side."""

    type: Literal["gemma3"]
    pan_and_scan_min_crop_size: Side = 256
    """Least length in pixels of a crop's sides; an image whose crops would be smaller stays whole."""
    pan_and_scan_max_num_crops: Few = 4
    """Most crops."""
    pan_and_scan_min_ratio_to_activate: Annotated[float, Field(ge=1, le=1_000)] = 1.2
    """Least ratio of the longer to the shorter side at which there are crops."""
