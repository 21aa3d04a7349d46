"""The tiling of ``GotOcr2ImageProcessor`` of transformers, which InternVL and Aya Vision use, too."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from ..base import invalid, problem
from ..encoders.base import Few
from .base import TilingConfig


class GotOcr2Fields(TilingConfig):
    """Bounds of the number of tiles."""

    min_patches: Few = 1
    """Least number of tiles, without the image whole."""
    max_patches: Few = 12
    """Most tiles, without the image whole."""

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.min_patches > self.max_patches:
            message = f"{self.min_patches} is more than max_patches {self.max_patches}"
            raise invalid("tiling", problem("VC104", message, "min_patches", value=self.min_patches))
        return self


class GotOcr2TilingConfig(GotOcr2Fields):
    """The canvas of tiles whose aspect ratio is closest, filled; behind several tiles the image whole."""

    type: Literal["got_ocr2"]
