"""The sizes that image processors of native-resolution encoders give to pictures. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, isqrt, sqrt
from typing import Protocol

from ..errors import InputError

MAX_ASPECT_RATIO = 200
"""What Qwen's image processors take at most."""


class ResizeRule(Protocol):
    """Width and height of a picture in pixels -> those it is resized to."""

    def __call__(self, width: int, height: int) -> tuple[int, int]:
        """Sizes after resizing.

        Raises:
            InputError: The processor refuses such a picture.
        """

    @property
    def largest_side(self) -> int:
        """Side of the largest square that is kept as it is."""


@dataclass(frozen=True)
class PixelBudget:
    """Qwen's rule: sides to the nearest multiple of ``factor``, scaled until the area is within bounds.

    Attributes:
        factor: What both sides are multiples of: a patch's side times the merge size.
        min_pixels: Least area.
        max_pixels: Greatest area; a side never falls below one ``factor`` for it.
    """

    factor: int
    min_pixels: int
    max_pixels: int

    def __call__(self, width: int, height: int) -> tuple[int, int]:
        if max(width, height) / min(width, height) > MAX_ASPECT_RATIO:
            raise InputError(
                f"an image of {width}x{height} pixels is too thin: its sides may differ by a factor of "
                f"{MAX_ASPECT_RATIO}"
            )
        # Python rounds halves to even, as the processors do.
        sides = [round(side / self.factor) * self.factor for side in (width, height)]
        area = sides[0] * sides[1]
        if area > self.max_pixels:
            shrink = sqrt(height * width / self.max_pixels)
            sides = [
                max(self.factor, floor(side / shrink / self.factor) * self.factor) for side in (width, height)
            ]
        elif area < self.min_pixels:
            grow = sqrt(self.min_pixels / (height * width))
            sides = [ceil(side * grow / self.factor) * self.factor for side in (width, height)]
        return sides[0], sides[1]

    @property
    def largest_side(self) -> int:
        return max(isqrt(self.max_pixels) // self.factor, 1) * self.factor


@dataclass(frozen=True)
class LongestEdge:
    """Pixtral's rule: shrunk until it fits into a box, then sides rounded up to whole patches.

    Attributes:
        max_width: Width of the box.
        max_height: Its height.
        multiple: What both sides are multiples of.
    """

    max_width: int
    max_height: int
    multiple: int

    def __call__(self, width: int, height: int) -> tuple[int, int]:
        shrink = max(height / self.max_height, width / self.max_width)
        sides = [floor(side / shrink) if shrink > 1 else side for side in (width, height)]
        if min(sides) < 1:
            raise InputError(f"an image of {width}x{height} pixels is too thin: nothing is left of it")
        columns, rows = (ceil(side / self.multiple) for side in sides)
        return columns * self.multiple, rows * self.multiple

    @property
    def largest_side(self) -> int:
        return min(self.max_width, self.max_height)
