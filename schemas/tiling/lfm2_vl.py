"""LFM2-VL's tiling: ``Lfm2VlImageProcessor`` of transformers."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ..base import invalid, problem
from ..encoders.base import Few, Side
from .base import TilingConfig


class Lfm2VlTilingConfig(TilingConfig):
    """A large image on the canvas of tiles whose aspect ratio is closest, filled; then the image whole."""

    masked: ClassVar[bool] = True

    type: Literal["lfm2_vl"]
    min_tiles: Few = 2
    """Least number of tiles, without the image whole."""
    max_tiles: Few = 10
    """Most tiles, without the image whole."""
    use_thumbnail: bool = True
    """Whether the image whole follows behind several tiles."""
    tile_size: Side = 512
    """Side of a tile in pixels."""
    max_pixels_tolerance: Annotated[float, Field(gt=0, le=1_000)] = 2.0
    """How many times the area of the largest image that is not shrunk an image may have and stay whole."""

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if self.min_tiles > self.max_tiles:
            message = f"{self.min_tiles} is more than max_tiles {self.max_tiles}"
            raise invalid("tiling", problem("VC104", message, "min_tiles", value=self.min_tiles))
        return self
