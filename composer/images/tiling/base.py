"""The interface of a way to cut images into tiles. Loads no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeAlias, TypeVar

from ...schemas.tiling import TILING_CONFIGS, TilingConfig
from ..resize import ResizeRule

if TYPE_CHECKING:
    from PIL import Image
    from transformers.image_processing_backends import PilBackend

    from ..reading import Arrays

T = TypeVar("T", bound=TilingConfig)

Box = tuple[int, int, int, int]
"""Left, top, right and bottom of a tile, in pixels of the canvas."""


@dataclass(frozen=True)
class TilePlan:
    """How one image is cut into tiles; in the order of the tiles, which is that of the tower's inputs.

    Attributes:
        width: Width of the image in pixels; 0 where it is not known.
        height: Its height.
        rows: Rows of tiles; 0 if the image is taken whole.
        columns: Columns of tiles.
        whole: Where the image as a whole, as a tile of its own, stands among the tiles.
        canvas: Width and height in pixels of what is cut.
        margins: By how many pixels a tile reaches into the one before it and into the one behind it, if
            tiles overlap.
    """

    width: int = 0
    height: int = 0
    rows: int = 0
    columns: int = 0
    whole: Literal["first", "last", "none"] = "first"
    canvas: tuple[int, int] = (0, 0)
    margins: tuple[int, int] = (0, 0)

    @property
    def num_tiles(self) -> int:
        """Tiles in all."""
        return self.rows * self.columns + (self.whole != "none")

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Where on the canvas each tile lies, row after row; the image as a whole is not among them.

        What is left over goes to the last row and the last column.
        """
        if not self.rows:
            return ()
        (width, height), overlap = self.canvas, sum(self.margins)
        across, down = (width - overlap) // self.columns, (height - overlap) // self.rows
        rights = [*(column * across + overlap for column in range(1, self.columns)), width]
        bottoms = [*(row * down + overlap for row in range(1, self.rows)), height]
        return tuple(
            (column * across, row * down, right, bottom)
            for row, bottom in enumerate(bottoms)
            for column, right in enumerate(rights)
        )


class Tiling(ABC, Generic[T]):
    """One way to cut images into tiles: where it cuts, and how transformers' image processor is asked to.

    Args:
        config: The config block.
        side: Side of a tile in pixels: what the tower takes.
        resize: How the image processor resizes images that are not cut; None where all get one size.
    """

    type: ClassVar[str]
    processor: ClassVar[str] = ""
    """The image processor in transformers that cuts images so; empty if :meth:`cut` does, and the image
    processor makes each tile as it would the image whole."""
    switch: ClassVar[str] = ""
    """The argument that tells the image processor to cut; empty if it needs none."""
    read_by: ClassVar[tuple[str, ...]] = ()
    """model_type of the VLMs that cut images so."""
    sizes_differ: ClassVar[bool] = False
    """Whether tiles of one image have sizes of their own, to the largest of which the image processor pads
    the others behind its arithmetic."""

    def __init__(self, config: T, side: int, resize: ResizeRule | None = None) -> None:
        self.config, self.side, self.resize = config, side, resize

    @abstractmethod
    def plan(self, width: int, height: int) -> TilePlan:
        """Return how an image of that size in pixels is cut: pure arithmetic.

        Raises:
            InputError: If the processor refuses such an image.
        """

    def stretched(
        self, width: int, height: int, columns: int, rows: int, whole: Literal["first", "last"] = "last"
    ) -> TilePlan:
        """Return the plan of an image that fills a canvas of so many tiles; it is not cut if that is one."""
        if columns * rows == 1:
            return TilePlan(width, height)
        canvas = (columns * self.side, rows * self.side)
        return TilePlan(width, height, rows, columns, whole=whole, canvas=canvas)

    def sizes(self, plan: TilePlan) -> list[tuple[int, int]]:
        """Return width and height in pixels of every tile of an image, in order; by default squares."""
        return [(self.side, self.side)] * plan.num_tiles

    @classmethod
    def fields_of(cls, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the block's fields, without ``type``, that a VLM's config.json and processor JSON say.

        None if they say that images are not cut.
        """
        known = set(TILING_CONFIGS[cls.type].model_fields) - {"type"}
        return {key: value for key, value in values.items() if key in known and value is not None}

    def options(self) -> dict[str, Any]:
        """Return the arguments with which transformers' processor cuts an image so."""
        switch = {self.switch: True} if self.switch else {}
        return self.config.model_dump(mode="json", exclude={"type"}) | switch

    def cut(self, processor: PilBackend, image: Image.Image) -> Arrays:
        """Return the tiles of an RGB image as transformers' processor makes them, one after the other.

        Args:
            processor: The VLM's image processor.
            image: In RGB.

        Returns:
            The tower's inputs, with a tile on every row of the first axis.
        """
        import numpy as np

        output = processor(image, return_tensors="np", **self.options())
        pixels = np.asarray(output["pixel_values"])
        return {"pixel_values": pixels.reshape(-1, *pixels.shape[-3:])}


class MaskedTiling(Tiling[T], Generic[T]):
    """A tiling of a processor that pads the tiles of an image to one size, with a mask of what is valid."""

    def cut(self, processor: PilBackend, image: Image.Image) -> Arrays:
        import numpy as np

        output = processor(image, return_tensors="np", do_pad=True, **self.options())
        return {name: np.asarray(output[name])[0] for name in ("pixel_values", "pixel_attention_mask")}


AnyTiling: TypeAlias = Tiling[Any]
"""A tiling of any type."""
