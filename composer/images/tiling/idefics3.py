"""Idefics3's and SmolVLM's tiling."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any, ClassVar

from ...schemas.tiling.idefics3 import Idefics3TilingConfig
from .base import MaskedTiling, TilePlan

_LONGEST = 4096
"""What no side exceeds, whatever ``longest_edge`` says."""


class Idefics3Tiling(MaskedTiling[Idefics3TilingConfig]):
    """The image at the largest size, stretched to whole tiles and cut; then the image whole."""

    type = "idefics3"
    processor = "Idefics3ImageProcessor"
    read_by: ClassVar = ("idefics3", "smolvlm")

    @classmethod
    def fields_of(cls, values: Mapping[str, Any]) -> dict[str, Any] | None:
        if values.get("do_image_splitting") is False:
            return None
        size = values.get("size")
        longest = size.get("longest_edge") if isinstance(size, Mapping) else None
        return {} if longest is None else {"longest_edge": longest}

    def plan(self, width: int, height: int) -> TilePlan:
        """Source: ``resize``, ``resize_for_vision_encoder`` and ``split_images`` of transformers' class."""
        width, height, original = *self._resized(width, height), (width, height)
        ratio = width / height
        if width >= height:
            width = self._whole_tiles(width)
            height = self._whole_tiles(int(width / ratio))
        else:
            height = self._whole_tiles(height)
            width = self._whole_tiles(int(height * ratio))
        rows, columns = height // self.side, width // self.side
        if rows * columns == 1:
            return TilePlan(*original)
        return TilePlan(*original, rows, columns, whole="last", canvas=(width, height))

    def _resized(self, width: int, height: int) -> tuple[int, int]:
        """Return the size to which the image is resized first: its longer side to the longest edge."""
        longest, ratio = self.config.longest_edge, width / height
        if width >= height:
            width, height = longest, int(longest / ratio)
            height += height % 2
        else:
            width, height = int(longest * ratio), longest
            width += width % 2
        width, height = max(width, 1), max(height, 1)
        ratio = width / height
        if width >= height and width > _LONGEST:
            return _LONGEST, max(int(_LONGEST / ratio), 1)
        if height > width and height > _LONGEST:
            return max(int(_LONGEST * ratio), 1), _LONGEST
        return width, height

    def _whole_tiles(self, length: int) -> int:
        return ceil(length / self.side) * self.side

    def options(self) -> dict[str, Any]:
        return {
            "do_image_splitting": True,
            "size": {"longest_edge": self.config.longest_edge},
            "max_image_size": {"longest_edge": self.side},
        }
