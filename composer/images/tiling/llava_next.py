"""LLaVA-NeXT's tiling, AnyRes."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from ...schemas.tiling.llava_next import LlavaNextTilingConfig
from ...schemas.tiling.llava_onevision import LlavaOnevisionTilingConfig
from .base import TilePlan, Tiling

A = TypeVar("A", LlavaNextTilingConfig, LlavaOnevisionTilingConfig)


class AnyRes(Tiling[A], Generic[A]):
    """The image whole, then the tiles of a canvas that holds it at its aspect ratio, padded on both sides."""

    def plan(self, width: int, height: int) -> TilePlan:
        canvas_height, canvas_width = best_canvas(width, height, self.config.image_grid_pinpoints)
        rows, columns = canvas_height // self.side, canvas_width // self.side
        return TilePlan(width, height, rows, columns, canvas=(canvas_width, canvas_height))


class LlavaNextTiling(AnyRes[LlavaNextTilingConfig]):
    """LLaVA-NeXT's way to cut an image."""

    type = "llava_next"
    processor = "LlavaNextImageProcessor"
    read_by: ClassVar = ("llava_next", "llava_next_video", "granite4_vision")


def best_canvas(width: int, height: int, canvases: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    """Return the height and width of the canvas that keeps most of an image, and wastes least of itself.

    The rule is that of transformers' ``select_best_resolution``; the first of canvases that are alike.
    """

    def rank(canvas: tuple[int, int]) -> tuple[int, int]:
        rows, columns = canvas
        scale = min(columns / width, rows / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        return kept, kept - rows * columns

    return max(canvases, key=rank)
