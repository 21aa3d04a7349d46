"""The sizes to which image processors resize images that keep their own aspect ratio. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, isqrt, prod, sqrt
from typing import Protocol

from ..errors import InputError

MAX_ASPECT_RATIO = 200
"""What Qwen's image processors take at most."""


class ResizeRule(Protocol):
    """A rule that gives the size to which an image of some size is resized."""

    def __call__(self, width: int, height: int) -> tuple[int, int]:
        """Return width and height in pixels after resizing.

        Raises:
            InputError: If the processor refuses such an image.
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
        frames: What areas are multiplied by before they are held against the bounds.
    """

    factor: int
    min_pixels: int
    max_pixels: int
    frames: int = 1

    def __call__(self, width: int, height: int) -> tuple[int, int]:
        if max(width, height) / min(width, height) > MAX_ASPECT_RATIO:
            raise InputError(
                f"an image of {width}x{height} pixels is too thin: its sides may differ by a factor of "
                f"{MAX_ASPECT_RATIO}"
            )
        return self._within(width, height, 0)

    def _within(self, width: int, height: int, least: int) -> tuple[int, int]:
        # Python rounds halves to even, as the processors do.
        sides = [max(round(side / self.factor) * self.factor, least) for side in (width, height)]
        area = self.frames * sides[0] * sides[1]
        if area > self.max_pixels:
            shrink = sqrt(self.frames * height * width / self.max_pixels)
            sides = [
                max(self.factor, floor(side / shrink / self.factor) * self.factor) for side in (width, height)
            ]
        elif area < self.min_pixels:
            grow = sqrt(self.min_pixels / (self.frames * height * width))
            sides = [ceil(side * grow / self.factor) * self.factor for side in (width, height)]
        return sides[0], sides[1]

    @property
    def largest_side(self) -> int:
        return max(isqrt(self.max_pixels // self.frames) // self.factor, 1) * self.factor


@dataclass(frozen=True)
class TokenPixelBudget(PixelBudget):
    """LFM2-VL's rule: Qwen's for an image of any shape, no side below one ``factor``.

    Attributes:
        patch_size: Side of a patch.
    """

    patch_size: int = 1

    def __call__(self, width: int, height: int) -> tuple[int, int]:
        return self._within(width, height, self.factor)

    def rounded_area(self, width: int, height: int) -> int:
        """Return the area of an image whose sides are rounded, and not bounded."""
        return prod(max(round(side / self.factor) * self.factor, self.patch_size) for side in (width, height))


@dataclass(frozen=True)
class EnlargingPixelBudget(PixelBudget):
    """GLM-4V's rule: an image with a side below one ``factor`` is enlarged first, then Qwen's rule."""

    def __call__(self, width: int, height: int) -> tuple[int, int]:
        if min(width, height) < self.factor:
            scale = max(self.factor / height, self.factor / width)
            width, height = int(width * scale), int(height * scale)
        return super().__call__(width, height)


@dataclass(frozen=True)
class StretchingPixelBudget(PixelBudget):
    """PaddleOCR-VL's rule: a side below one ``factor`` becomes one, the other with it, then Qwen's rule."""

    def __call__(self, width: int, height: int) -> tuple[int, int]:
        if height < self.factor:
            width, height = round(width * self.factor / height), self.factor
        if width < self.factor:
            width, height = self.factor, round(height * self.factor / width)
        return super().__call__(width, height)


@dataclass(frozen=True)
class PaddedPatchBudget:
    """Kimi's rule: shrunk until there are few enough patches, then padded to whole merged patches.

    Attributes:
        patch_size: Side of a patch.
        merge_size: Patches along a side of a merged one.
        max_patches: Patches of an image, before padding.
        max_side_patches: Patches along one side, before padding.
    """

    patch_size: int
    merge_size: int
    max_patches: int
    max_side_patches: int

    def __call__(self, width: int, height: int) -> tuple[int, int]:
        factor = self.merge_size * self.patch_size
        columns, rows = (ceil(side / factor) for side in self.scaled(width, height))
        return columns * factor, rows * factor

    def scaled(self, width: int, height: int) -> tuple[int, int]:
        """Width and height before the padding."""
        patches = max(1.0, height // self.patch_size) * max(1.0, width // self.patch_size)
        largest = self.max_side_patches * self.patch_size
        scale = min(1.0, sqrt(self.max_patches / patches), largest / height, largest / width)
        return min(max(1, int(width * scale)), largest), min(max(1, int(height * scale)), largest)

    @property
    def largest_side(self) -> int:
        factor = self.merge_size * self.patch_size
        patches = min(isqrt(self.max_patches), self.max_side_patches)
        return max(patches // self.merge_size, 1) * factor


@dataclass(frozen=True)
class LongestEdge:
    """Pixtral's rule: shrunk until it fits into a box, then sides rounded up to whole patches.

    Attributes:
        max_width: Width of the box.
        max_height: Its height.
        column: What widths are multiples of.
        row: What heights are multiples of.
    """

    max_width: int
    max_height: int
    column: int
    row: int

    def __call__(self, width: int, height: int) -> tuple[int, int]:
        shrink = max(height / self.max_height, width / self.max_width)
        sides = [floor(side / shrink) if shrink > 1 else side for side in (width, height)]
        if min(sides) < 1:
            raise InputError(f"an image of {width}x{height} pixels is too thin: nothing is left of it")
        return ceil(sides[0] / self.column) * self.column, ceil(sides[1] / self.row) * self.row

    @property
    def largest_side(self) -> int:
        return min(self.max_width, self.max_height)


@dataclass(frozen=True)
class PatchBudget:
    """SigLIP 2's rule: the largest scale at which the image's patches, rounded up, are not too many.

    Attributes:
        patch_size: What both sides are multiples of.
        max_patches: Most patches.
    """

    patch_size: int
    max_patches: int

    def __call__(self, width: int, height: int) -> tuple[int, int]:
        # The processor bisects to this precision, so a scale that would fit exactly is not always found.
        precision = 1e-5
        low, high = precision / 10, 100.0
        while high - low >= precision:
            middle = (low + high) / 2
            columns, rows = self._patches(width, middle), self._patches(height, middle)
            low, high = (middle, high) if columns * rows <= self.max_patches else (low, middle)
        return self._patches(width, low) * self.patch_size, self._patches(height, low) * self.patch_size

    def _patches(self, side: int, scale: float) -> int:
        return max(ceil(side * scale / self.patch_size), 1)

    @property
    def largest_side(self) -> int:
        return isqrt(self.max_patches) * self.patch_size


@dataclass(frozen=True)
class EdgeBounds:
    """Idefics2's rule: the longer side is cut to a bound, the other with it, then both raised to another.

    Attributes:
        shortest: Least length of a side.
        longest: Greatest length of the longer side, unless ``shortest`` is greater.
        patch_size: Least length that gives a patch.
    """

    shortest: int
    longest: int
    patch_size: int = 1

    def __call__(self, width: int, height: int) -> tuple[int, int]:
        ratio = width / height
        if width >= height and width > self.longest:
            width, height = self.longest, int(self.longest / ratio)
        elif height > width and height > self.longest:
            width, height = int(self.longest * ratio), self.longest
        return _with_a_patch(max(width, self.shortest), max(height, self.shortest), self.patch_size)

    @property
    def largest_side(self) -> int:
        return max(self.longest, self.shortest)


@dataclass(frozen=True)
class FixedSize:
    """Every image gets one size, whatever its aspect ratio.

    Attributes:
        width: That size.
        height: That size.
        patch_size: Least length that gives a patch.
    """

    width: int
    height: int
    patch_size: int = 1

    def __call__(self, width: int, height: int) -> tuple[int, int]:
        return _with_a_patch(self.width, self.height, self.patch_size)

    @property
    def largest_side(self) -> int:
        return min(self.width, self.height)


def _with_a_patch(width: int, height: int, patch_size: int) -> tuple[int, int]:
    """Return a size, if it has room for a patch."""
    if min(width, height) < patch_size:
        raise InputError(
            f"an image resized to {width}x{height} pixels is smaller than one patch of "
            f"{patch_size}x{patch_size}"
        )
    return width, height


@dataclass(frozen=True)
class AriaCanvas:
    """Aria's rule: the longer side gets one length, the other follows but is not shorter than a bound.

    Attributes:
        longest: Length of the longer side.
        shortest: Least length of the other.
        patch_size: What both are rounded up to, as far as the canvas has whole patches.
    """

    longest: int
    shortest: int
    patch_size: int = 1

    def __call__(self, width: int, height: int) -> tuple[int, int]:
        scale = self.longest / max(width, height)
        # Sides are cut in this order, so that a square is not rounded.
        other = max(int(min(width, height) * scale), self.shortest)
        most = self.longest // self.patch_size
        long, short = (
            min(ceil(side / self.patch_size), most) * self.patch_size for side in (self.longest, other)
        )
        return (long, short) if width >= height else (short, long)

    @property
    def largest_side(self) -> int:
        return self.longest


@dataclass(frozen=True)
class TokenBudget:
    """Gemma 4's rule: the area of all tokens at the image's aspect ratio, sides rounded down.

    Attributes:
        factor: What both sides are multiples of: a patch's side times the merge size.
        max_tokens: Most pooled tokens.
    """

    factor: int
    max_tokens: int

    def __call__(self, width: int, height: int) -> tuple[int, int]:
        scale = sqrt(self.max_tokens * self.factor**2 / (height * width))
        columns, rows = (floor(scale * side / self.factor) for side in (width, height))
        if not rows:
            rows, columns = 1, min(width // height, self.max_tokens)
        elif not columns:
            rows, columns = min(height // width, self.max_tokens), 1
        return columns * self.factor, rows * self.factor

    @property
    def largest_side(self) -> int:
        return isqrt(self.max_tokens) * self.factor


@dataclass(frozen=True)
class TileCanvas:
    """Mllama's rule: the canvas of square tiles that an image fills best.

    The smallest enlargement that some canvas allows; if every canvas is too small, the least reduction; of
    canvases that are alike in that, the first of the smallest.

    Attributes:
        side: Side of a tile in pixels.
        most: Tiles of a canvas at most.
    """

    side: int
    most: int

    def __call__(self, width: int, height: int) -> tuple[int, int]:
        scales = {
            (rows, columns): min(rows * self.side / height, columns * self.side / width)
            for rows in range(1, self.most + 1)
            for columns in range(1, self.most // rows + 1)
        }
        enlargements = [scale for scale in scales.values() if scale >= 1]
        best = min(enlargements) if enlargements else max(scales.values())
        rows, columns = min((canvas for canvas, scale in scales.items() if scale == best), key=prod)
        return columns * self.side, rows * self.side

    @property
    def largest_side(self) -> int:
        return isqrt(self.most) * self.side
