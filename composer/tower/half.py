"""The vision half as a torch module: a tower, the tiles of its images, the connector, and a reduction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..connectors import AnyConnector, ImageOfTiles
from ..encoders.batch import Batch, Images
from ..encoders.facts import Grid
from ..errors import InputError
from ..images.tiling import AnyTiling, TilePlan
from ..reduce import Reduction
from .base import Features, VisionModule
from .module import VisionTower
from .rows import OutputRows

IMAGE_SIZES = "image_sizes"
"""The input that holds the height and width in pixels of every image before it was cut into tiles."""

_UNCUT = TilePlan()


@dataclass(frozen=True, eq=False)
class TiledBatch(Images):
    """Images, each as one tile or several.

    Attributes:
        tiles: The tiles of all images one after the other, as a batch of the tower.
        plans: How each image was cut.
    """

    tiles: Batch
    plans: tuple[TilePlan, ...]

    @cached_property
    def starts(self) -> list[int]:
        """The first tile of every image, then the number of tiles."""
        return [0, *accumulate(plan.num_tiles for plan in self.plans)]

    @cached_property
    def images(self) -> list[ImageOfTiles]:
        """The images as a connector sees them."""
        grids = self.tiles.grids
        return [
            ImageOfTiles.of_grids(plan, tuple(grids[start : start + plan.num_tiles]))
            for plan, start in zip(self.plans, self.starts, strict=False)
        ]

    @cached_property
    def grids(self) -> tuple[Grid, ...]:
        """One grid for all tiles of each image."""
        return tuple(image.grid_of_all for image in self.images)

    def __len__(self) -> int:
        return len(self.plans)

    @property
    def is_empty(self) -> bool:
        return not self.plans

    def take(self, images: Sequence[int]) -> Self:
        tiles = [tile for i in images for tile in range(self.starts[i], self.starts[i + 1])]
        return type(self)(self.tiles.take(tiles), tuple(self.plans[i] for i in images))


class VisionHalf(VisionModule[TiledBatch]):
    """A tower that runs every tile of an image, and a connector that makes of them what is read.

    Args:
        tower: Runs tiles.
        tiling: How images are cut; None if each is one tile.
        connector: What makes the rows that the language model reads; None to return the tower's features,
            tile after tile.
        connector_module: The connector's module.
        reduction: What makes the rows of an image fewer; None to return all.
    """

    def __init__(
        self,
        tower: VisionTower,
        tiling: AnyTiling | None,
        connector: AnyConnector | None,
        connector_module: nn.Module | None,
        reduction: Reduction | None = None,
    ) -> None:
        super().__init__()
        self.tower, self.tiling = tower, tiling
        self.connector, self.connector_module = connector, connector_module
        self.reduction = reduction
        self.rows = OutputRows(tower.readout, connector, reduction)

    @property
    def parts(self) -> dict[str, VisionTower]:
        """The tower under an empty name."""
        return {"": self.tower}

    def read(self, inputs: Mapping[str, Any]) -> TiledBatch:
        """Check the tower's inputs, with a tile wherever it has an image, and ``image_sizes``.

        ``image_sizes`` are the height and width in pixels of every image before it was cut, (images, 2), of
        integers. Without tiling they are left out.
        """
        if self.tiling is None:
            tiles = self.tower.read(inputs)
            return TiledBatch(tiles, (_UNCUT,) * len(tiles))
        rest = dict(inputs)
        plans = tuple(
            self.tiling.plan(width, height) for height, width in _sizes(rest.pop(IMAGE_SIZES, None))
        )
        batch = TiledBatch(self.tower.read(rest), plans)
        if len(batch.tiles) != batch.starts[-1]:
            raise InputError(
                f"pixel_values hold {len(batch.tiles)} tiles, but images of the sizes in {IMAGE_SIZES} are "
                f"cut into {batch.starts[-1]}"
            )
        return batch

    def forward(self, batch: TiledBatch) -> tuple[Tensor, ...]:
        """Encode a batch.

        Returns:
            One (rows, width) tensor per image, contiguous: what the language model reads, or without a
            connector the tower's tokens, tile after tile; with a reduction, those that stay. With DeepStack
            levels on an axis of their own: (levels, rows, width).
        """
        if self.reduction is None:
            return self._unreduced(batch)
        return tuple(rows for rows, _ in self.reduced(batch))

    def reduced(self, batch: TiledBatch) -> list[tuple[Tensor, Tensor]]:
        """Encode a batch with a reduction, and tell which rows stay.

        Returns:
            For every image the rows that stay, (rows, width), and their indices among all rows, (rows,)
            int64, ascending, on the same device.
        """
        assert self.reduction is not None
        every = zip(self._unreduced(batch), batch.images, strict=True)
        return [self.reduction.run(rows, self.rows.grid(image)) for rows, image in every]

    def _unreduced(self, batch: TiledBatch) -> tuple[Tensor, ...]:
        if batch.is_empty:
            return ()
        features = self.tower(batch.tiles)
        if self.connector is None or self.connector_module is None:
            pairs = zip(batch.starts, batch.starts[1:], strict=False)
            return tuple(torch.cat(tuple(features[start:end]), dim=-2).contiguous() for start, end in pairs)
        rows = self.connector.run(self.connector_module, features, batch.images)
        return tuple(image.contiguous() for image in rows)

    def rows_of_batch(self, batch: TiledBatch) -> list[int]:
        return [self.rows.count(image) for image in batch.images]

    def rows_per_image(self, grids: Sequence[Grid]) -> list[int]:
        if self.tiling is not None:
            raise InputError("the grids of tiles do not tell how many rows an image has; pass exact=False")
        return [self.rows.count(ImageOfTiles(_UNCUT, grid)) for grid in grids]

    def join(self, images: Sequence[Tensor]) -> Features:
        return tuple(image.clone(memory_format=torch.contiguous_format) for image in images)

    def blank(self) -> TiledBatch:
        plan = _UNCUT if self.tiling is None else self.tiling.plan(self.tiling.side, self.tiling.side)
        tiles = self.tower.blank(self._smallest_multiple(plan))
        return TiledBatch(tiles.take([0] * plan.num_tiles), (plan,))

    def _smallest_multiple(self, plan: TilePlan) -> int:
        """Return how many of the tower's smallest images a side of a tile must have for the connector."""
        side = self.tower.info.grid_multiple
        for multiple in range(1, self.tower.info.patch_grid_length // side + 1):
            with suppress(InputError):
                self.rows.count(ImageOfTiles(plan, (1, multiple * side, multiple * side)))
                return multiple
        return 1

    def grid_of_image(self, width: int, height: int) -> Grid:
        if self.tiling is None:
            return self.tower.grid_of_image(width, height)
        plan = self.tiling.plan(width, height)
        grids = tuple(self.tower.info.grid_of_pixels(*size) for size in self.tiling.sizes(plan))
        return ImageOfTiles.of_grids(plan, grids).grid_of_all


def _sizes(sizes: object) -> list[list[int]]:
    """Return ``image_sizes`` as numbers.

    Raises:
        InputError: If they are not the heights and widths of images.
    """
    if not isinstance(sizes, torch.Tensor) or sizes.dim() != 2 or sizes.shape[1] != 2:
        shape = tuple(sizes.shape) if isinstance(sizes, torch.Tensor) else type(sizes).__name__
        raise InputError(
            f"{IMAGE_SIZES} must be the height and width of every image before it was cut, an integer tensor "
            f"(images, 2), not {shape}"
        )
    if sizes.is_floating_point() or sizes.dtype == torch.bool:
        raise InputError(f"{IMAGE_SIZES} are {sizes.dtype}; they must be integers")
    listed: list[list[int]] = sizes.tolist()
    if any(side < 1 for size in listed for side in size):
        raise InputError(f"{IMAGE_SIZES} has a side below 1 pixel")
    return listed
