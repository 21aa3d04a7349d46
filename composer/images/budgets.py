"""More sizes of images that keep their own aspect ratio, by bounds of their tokens. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import ceil, floor, isqrt, lcm, sqrt

_LONGEST = 1 << 13
"""Side in pixels of the largest square of a rule without a bound; larger images are refused elsewhere."""


@dataclass(frozen=True)
class AlignedBudget:
    """GLM-5's rule: sides rounded up to multiples of ``factor``, scaled until the tokens are within bounds.

    Attributes:
        factor: What both sides are multiples of: a patch's side times the merge size.
        min_tokens: Least number of merged tokens.
        max_tokens: Most merged tokens.
    """

    factor: int
    min_tokens: int
    max_tokens: int

    def __post_init__(self) -> None:
        if self.max_tokens < 1:
            raise ValueError("max_image_tokens must be at least 1")

    def __call__(self, width: int, height: int) -> tuple[int, int]:
        columns, rows = self._tokens(width), self._tokens(height)
        if columns * rows < self.min_tokens:
            grow = sqrt(self.min_tokens * self.factor**2 / (height * width))
            columns, rows = (self._tokens(max(1, ceil(side * grow))) for side in (width, height))
        if columns * rows > self.max_tokens:
            columns, rows = self._within(width, height)
        return columns * self.factor, rows * self.factor

    def _within(self, width: int, height: int) -> tuple[int, int]:
        """Return the columns and rows of the tallest image, not above this one, that is within bounds."""
        low, high, best = 1, height, (1, 1)
        while low <= high:
            middle = (low + high) // 2
            columns, rows = self._tokens(max(1, floor(width * middle / height))), self._tokens(middle)
            if columns * rows <= self.max_tokens:
                best, low = (columns, rows), middle + 1
            else:
                high = middle - 1
        return best

    def _tokens(self, side: int) -> int:
        return ceil(side / self.factor)

    @property
    def largest_side(self) -> int:
        return isqrt(self.max_tokens) * self.factor


@dataclass(frozen=True)
class NearestRatio:
    """Muse Glimmer's rule: of the grids around an image's own, shrunk to a bound, the one of nearest ratio.

    Attributes:
        factor: What both sides are multiples of: a patch's side times the merge size.
        max_tokens: Most merged tokens.
    """

    factor: int
    max_tokens: int

    def __call__(self, width: int, height: int) -> tuple[int, int]:
        rows, columns = height / self.factor, width / self.factor
        ratio = columns / rows
        if rows * columns > self.max_tokens:
            rows = (self.max_tokens / ratio) ** 0.5
            columns = rows * ratio
        # In a set, as in transformers: the first of grids that are as near is that of the set.
        grids = list(set(product((floor(rows), ceil(rows)), (floor(columns), ceil(columns)))))
        grids = [grid for grid in grids if min(grid) >= 1 and grid[0] * grid[1] <= self.max_tokens]
        grids = grids or [(max(1, round(rows)), max(1, round(columns)))]
        rows, columns = min(grids, key=lambda grid: abs(grid[0] / grid[1] - height / width))
        return columns * self.factor, rows * self.factor

    @property
    def largest_side(self) -> int:
        return isqrt(self.max_tokens) * self.factor


@dataclass(frozen=True)
class WholeSquares:
    """Inkling 2's rule: images keep their size, and are padded to whole squares.

    Attributes:
        width: Width of a square.
        height: Its height.
    """

    width: int
    height: int

    def __call__(self, width: int, height: int) -> tuple[int, int]:
        return ceil(width / self.width) * self.width, ceil(height / self.height) * self.height

    @property
    def largest_side(self) -> int:
        factor = lcm(self.width, self.height)
        return _LONGEST // factor * factor
