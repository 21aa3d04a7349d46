"""The sizes of an image on its way through a processor that resizes, crops and pads. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from ..errors import InputError

if TYPE_CHECKING:  # the schemas load pydantic, and exported towers compute sizes without it
    from ..schemas.processor_class import Values

Box = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True)
class Steps:
    """What happens to the size of an image, in this order; what is not set does not happen.

    Attributes:
        squares: The image is padded to a square.
        box: It is resized to this size.
        shortest: Its shorter side is resized to this, and the other with it. Beside ``longest``: what no side
            is shorter than.
        limit: Beside ``shortest`` alone: the greatest length of the longer side.
        inside: It is resized until it fits into this box and touches it.
        longest: Its longer side is resized to this.
        crop: Its centre is cut out, or it is padded, to this size.
        padded: It is padded at the bottom and the right to this size.
        pads: It is padded to a square at the end.
    """

    squares: bool = False
    box: Box | None = None
    shortest: int | None = None
    limit: int | None = None
    inside: Box | None = None
    longest: int | None = None
    crop: Box | None = None
    padded: Box | None = None
    pads: bool = False

    @classmethod
    def of(cls, values: Values, *, squares: bool = False) -> Self:
        """Make the steps that most processors take, out of their arguments.

        Raises:
            LookupError: If a size says nothing.
        """
        crop = _box(values["crop_size"]) if values.get("do_center_crop") else None
        pads = values.get("do_pad") and values.get("pad_size")
        padded = _box(values["pad_size"]) if pads else None
        if not values["do_resize"]:
            return cls(squares=squares, crop=crop, padded=padded)
        size = values["size"]
        if "shortest_edge" in size:
            limit = size.get("longest_edge")
            return cls(squares, shortest=size["shortest_edge"], limit=limit, crop=crop, padded=padded)
        if "max_height" in size:
            inside = (size["max_width"], size["max_height"])
            return cls(squares, inside=inside, crop=crop, padded=padded)
        return cls(squares, _box(size), crop=crop, padded=padded)

    def __call__(self, width: int, height: int) -> Box:
        *_, last = self.sizes(width, height)
        return last

    @property
    def largest_side(self) -> int:
        """Side of what becomes of a large square."""
        return min(self(1 << 14, 1 << 14))

    def sizes(self, width: int, height: int) -> Iterator[Box]:
        """Yield the size of an image before the first step and after every one.

        Raises:
            InputError: If nothing would be left of it, or it would have to be padded to less.
        """
        if self.squares:
            width = height = max(width, height)
        yield width, height
        yield (resized := self.resized(width, height))
        width, height = self.crop or resized
        yield width, height
        if self.pads:
            width = height = max(width, height)
        if self.padded is not None:
            if self.padded[0] < width or self.padded[1] < height:
                raise InputError(
                    f"an image resized to {width}x{height} pixels cannot be padded to "
                    f"{self.padded[0]}x{self.padded[1]}"
                )
            width, height = self.padded
        yield width, height

    def resized(self, width: int, height: int) -> Box:
        """Return the size behind the resize; what comes before and after is left out."""
        short, long = sorted((width, height))
        if self.box is not None:
            return self.box
        if self.longest is not None:
            scale = self.longest / long
            least = self.shortest or 1
            return max(round(width * scale), least), max(round(height * scale), least)
        if self.inside is not None:
            scale = min(self.inside[1] / height, self.inside[0] / width)
            width, height = int(width * scale), int(height * scale)
        elif self.shortest is not None and self.limit is None:
            other = int(self.shortest * long / short)
            width, height = (self.shortest, other) if width <= height else (other, self.shortest)
        elif self.shortest is not None:
            width, height = self._between(width, height, self.shortest, self.limit or 0)
        if min(width, height) < 1:
            raise InputError("an image so thin cannot be resized: nothing is left of it")
        return width, height

    @staticmethod
    def _between(width: int, height: int, shortest: int, longest: int) -> Box:
        """Resize the shorter side to ``shortest``, unless the longer one would pass ``longest``."""
        short, long = sorted((width, height))
        exact: float = shortest
        if float(long) / short * shortest > longest:
            exact = longest * float(short) / long
            shortest = round(exact)
        if short == shortest:
            return width, height
        if width < height:
            return shortest, int(exact * height / width)
        return int(exact * width / height), shortest


def _box(size: Mapping[str, int]) -> Box:
    return size["width"], size["height"]
