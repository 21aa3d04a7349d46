"""Idefics2's tiling, its image splitting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from ...errors import ConfigError, InputError, Problem
from ...schemas.tiling.idefics2 import Idefics2TilingConfig
from ..resize import EdgeBounds, FixedSize, ResizeRule
from .base import MaskedTiling, TilePlan


class Idefics2Tiling(MaskedTiling[Idefics2TilingConfig]):
    """The image's quarters and then the image whole, each resized as an image of its own."""

    type = "idefics2"
    processor = "Idefics2ImageProcessor"
    read_by: ClassVar = ("idefics2",)
    sizes_differ = True

    @classmethod
    def fields_of(cls, values: Mapping[str, Any]) -> dict[str, Any] | None:
        return {} if values.get("do_image_splitting") else None

    @property
    def rule(self) -> ResizeRule:
        """How the image and its quarters are resized.

        Raises:
            ConfigError: If the image processor is not Idefics2's.
        """
        if not isinstance(self.resize, (EdgeBounds, FixedSize)):
            message = "idefics2 is for images that go through Idefics2ImageProcessor"
            raise ConfigError(Problem("VC211", message, "tiling.type"))
        return self.resize

    def plan(self, width: int, height: int) -> TilePlan:
        if min(width, height) < 2:
            raise InputError(f"an image of {width}x{height} pixels has no quarters; both sides must be 2")
        return TilePlan(width, height, 2, 2, whole="last", canvas=(width, height))

    def sizes(self, plan: TilePlan) -> list[tuple[int, int]]:
        quarters = [(right - left, bottom - top) for left, top, right, bottom in plan.boxes]
        return [self.rule(*size) for size in [*quarters, (plan.width, plan.height)]]

    def options(self) -> dict[str, Any]:
        return {"do_image_splitting": True}
