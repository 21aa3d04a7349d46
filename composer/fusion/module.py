"""Several towers as one torch module: it runs each, and joins their tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Any, Self

import torch
from torch import Tensor, nn

from ..connectors import AnyConnector, ImageOfTiles
from ..encoders.batch import Batch, Images
from ..encoders.facts import Grid
from ..errors import InputError
from ..images.tiling import TilePlan
from ..tower.base import Features, VisionModule
from ..tower.module import VisionTower
from .grids import FusedTower, Fusion
from .inputs import FusedInput
from .naming import naming
from .resampling import resampled_tokens


@dataclass(frozen=True, eq=False)
class FusedBatch(Images):
    """The same images as every tower runs them.

    Attributes:
        parts: A batch of each tower.
        lead: The tower whose grids stand for an image's: one that takes images of several sizes, if any does.
    """

    parts: tuple[Batch, ...]
    lead: int

    @property
    def grids(self) -> tuple[Grid, ...]:
        return self.parts[self.lead].grids

    def grids_of(self, image: int) -> tuple[Grid, ...]:
        """Return the grid of an image in every tower."""
        return tuple(part.grids[image] for part in self.parts)

    def __len__(self) -> int:
        return len(self.parts[0])

    @property
    def is_empty(self) -> bool:
        return self.parts[0].is_empty

    def take(self, images: Sequence[int]) -> Self:
        return type(self)(tuple(part.take(images) for part in self.parts), self.lead)


class FusedTowers(VisionModule[FusedBatch]):
    """Several towers that run the same images, and what joins their tokens.

    Args:
        towers: The towers, by name.
        fusion: How their tokens are joined.
        inputs: What it is called with.
        project: Name of a tower -> the linear layer on its tokens.
        connector: What makes the rows that the language model reads; None to return the joined tokens.
        connector_module: The connector's module.
    """

    def __init__(
        self,
        towers: Mapping[str, VisionTower],
        fusion: Fusion,
        inputs: FusedInput,
        project: nn.ModuleDict,
        connector: AnyConnector | None,
        connector_module: nn.Module | None,
    ) -> None:
        super().__init__()
        self.towers, self.project = nn.ModuleDict(dict(towers)), project
        self.fusion, self.inputs = fusion, inputs
        self.connector, self.connector_module = connector, connector_module
        infos = [tower.info for tower in towers.values()]
        varies = [info.ragged or info.any_size for info in infos]
        self.ragged = any(info.ragged for info in infos)
        self._lead = varies.index(True) if any(varies) else 0

    @property
    def parts(self) -> dict[str, VisionTower]:
        """The towers, by name."""
        return dict(self.towers.items())  # type: ignore[arg-type]  # torch types what a ModuleDict holds as modules

    def read(self, inputs: Mapping[str, Any]) -> FusedBatch:
        given = {name: value for name, value in inputs.items() if value is not None}
        of_towers = self.inputs.split(given)
        batches = []
        for name, tower in self.parts.items():
            with naming(name):
                batches.append(tower.read(of_towers[name]))
        counts = {name: len(batch) for name, batch in zip(self.parts, batches, strict=True)}
        if len(set(counts.values())) > 1:
            named = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise InputError(f"the towers must be given the same images, and their numbers differ: {named}")
        batch = FusedBatch(tuple(batches), self._lead)
        for grids in {batch.grids_of(image) for image in range(len(batch))}:
            self.fusion.grid_of(grids)  # raises if the tokens cannot be joined
        return batch

    def forward(self, batch: FusedBatch) -> Features:
        """Encode a batch.

        Returns:
            The joined tokens, contiguous: (images, tokens, width), or one (tokens, width) tensor per image
            where the number of tokens can differ; with a connector one (rows, width) tensor per image.
        """
        features = []
        for (name, tower), part in zip(self.parts.items(), batch.parts, strict=True):
            with naming(name):
                features.append(tower(part))
        if batch.is_empty:
            return self._nothing(features)
        if self.ragged:
            joined: Features = tuple(
                self._joined([own[image][None] for own in features], batch.grids_of(image))[0]
                for image in range(len(batch))
            )
        else:
            joined = self._joined(features, batch.grids_of(0))
        if self.connector is None or self.connector_module is None:
            return joined
        rows = self.connector.run(self.connector_module, joined, self._images(batch))
        return tuple(image.contiguous() for image in rows)

    def _joined(self, features: Sequence[Tensor], grids: Sequence[Grid]) -> Tensor:
        """Join the tokens (images, tokens, width) of towers; all images have the same grids."""
        parts = [
            self._aligned(tower, own, grid)
            for tower, own, grid in zip(self.fusion.towers, features, grids, strict=True)
        ]
        if self.fusion.fuse == "sum":
            return reduce(torch.add, parts).contiguous()
        return torch.cat(parts, dim=-1 if self.fusion.fuse == "channel" else -2)

    def _aligned(self, tower: FusedTower, tokens: Tensor, grid: Grid) -> Tensor:
        fusion = self.fusion
        if fusion.grid is not None:
            own = tower.grid_of_tokens(grid)
            tokens = resampled_tokens(tokens, own, fusion.grid, fusion.resample, fusion.align_corners)
        return self.project[tower.name](tokens) if tower.name in self.project else tokens

    def _images(self, batch: FusedBatch) -> list[ImageOfTiles]:
        """Return the images as a connector sees them."""
        grids = [self.fusion.grid_of(batch.grids_of(image)) for image in range(len(batch))]
        return [ImageOfTiles(TilePlan(), grid) for grid in grids]

    def _nothing(self, features: Sequence[Features]) -> Features:
        """Return the features of no image, given every tower's."""
        if self.connector is not None or self.ragged:
            return ()
        fusion = self.fusion
        dense = [own for own in features if isinstance(own, Tensor)]
        counts = [own.shape[1] if fusion.grid is None else prod(fusion.grid) for own in dense]
        num_tokens = sum(counts) if fusion.fuse == "sequence" else counts[0]
        return dense[0].new_empty((0, num_tokens, fusion.width))

    @property
    def _listed(self) -> list[VisionTower]:
        return list(self.parts.values())

    def rows_of_batch(self, batch: FusedBatch) -> list[int]:
        if self.connector is not None:
            return [self.connector.num_rows(image) for image in self._images(batch)]
        return [self.fusion.num_tokens(batch.grids_of(image)) for image in range(len(batch))]

    def rows_per_image(self, grids: Sequence[Grid]) -> list[int]:
        raise InputError("the grids of one tower do not tell how many rows an image has; pass exact=False")

    def join(self, images: Sequence[Tensor]) -> Features:
        if self.connector is None and not self.ragged:
            return torch.stack(list(images))
        return tuple(image.clone(memory_format=torch.contiguous_format) for image in images)

    def blank(self) -> FusedBatch:
        smallest = FusedBatch(tuple(tower.blank() for tower in self._listed), self._lead)
        try:
            self.rows_of_batch(smallest)
        except InputError:  # their tokens cannot be joined; those of the size that was planned for can
            side = max(tower.info.image_size for tower in self._listed)
            multiples = [
                tower.grid_of_image(side, side)[1] // tower.info.grid_multiple for tower in self._listed
            ]
            parts = [tower.blank(n) for tower, n in zip(self._listed, multiples, strict=True)]
            return FusedBatch(tuple(parts), self._lead)
        return smallest

    def grid_of_image(self, width: int, height: int) -> Grid:
        return self._listed[self._lead].grid_of_image(width, height)
