"""Granite Docling's tiling: ``GraniteDoclingImageProcessor`` of transformers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..encoders.base import Extra
from .got_ocr2 import GotOcr2Fields

_Ratio = Annotated[float, Field(ge=0, le=1_024)]


class GraniteDoclingTilingConfig(GotOcr2Fields):
    """GOT-OCR 2's tiling with 16 tiles along a side at most, and more tiles for wide pages that lose much."""

    type: Literal["granite_docling"]
    max_patches: Annotated[int, Field(ge=1, le=1_024)] = 32
    """Most tiles, without the image whole."""
    dense_max_patches: Extra = 0
    """Most tiles of the pages that the other fields choose; 0 chooses none."""
    dense_max_scale: _Ratio = 0.0
    """What the canvas's width over the page's must be below; 0 asks nothing."""
    dense_min_aspect: _Ratio = 0.0
    """What the page's width over its height must be above; 0 asks nothing."""
    dense_max_aspect: _Ratio = 0.0
    """What the page's width over its height must not be above; 0 asks nothing."""
