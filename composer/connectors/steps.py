"""A connector of your own, composed of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from ..encoders import Grid
from ..encoders.shapes import Shapes, layer_norm, linear, matrix_values
from ..errors import ConfigError, InputError, Problem
from ..images.tiling import TilePlan
from ..schemas.connectors.steps import (
    AvgPoolStep,
    LinearStep,
    NormStep,
    SpaceToDepthStep,
    Step,
    StepsConnectorConfig,
    SwigluStep,
    WeightedStep,
)
from ..schemas.yaml.nodes import dotted
from .base import Connector, ImageOfTiles, TowerOutput, parts

if TYPE_CHECKING:
    from torch import Tensor, nn

STEPS = "steps"


class StepsConnector(Connector[StepsConnectorConfig]):
    """Steps that run one after the other on the rows of every tile, tile after tile.

    Raises:
        ConfigError: If the widths of steps and tower do not fit, or squares do not fill an image of the size
            that the tower takes.
    """

    type = STEPS

    def __init__(self, config: StepsConnectorConfig, tower: TowerOutput) -> None:
        super().__init__(config, tower)
        if fault := config.fault_of_widths(tower.width):
            raise ConfigError(Problem("VC211", fault[1], dotted(("connector", *fault[0]))))
        info = tower.info
        if self._squares and not info.any_size:
            try:
                self.num_rows(ImageOfTiles(TilePlan(), info.grid_of_pixels(info.image_size, info.image_size)))
            except InputError as error:
                raise ConfigError(Problem("VC211", str(error), "connector.steps")) from None

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        return {}  # no VLM of transformers says its connector so

    # --- facts ----------------------------------------------------------------------------------------

    @property
    def _squares(self) -> list[int]:
        """The sides of the squares that steps join, in order."""
        return [side for step in self.config.steps if (side := side_of(step))]

    @property
    def _inputs(self) -> list[int]:
        """Features of a row in front of each step."""
        return [self.tower.width, *(width or 0 for width in self.config.widths(self.tower.width))][:-1]

    def shapes(self) -> Shapes:
        found: Shapes = {}
        for i, (step, width) in enumerate(zip(self.config.steps, self._inputs, strict=True)):
            found |= _shapes(f"{STEPS}.{i}", step, width)
        return found

    def names_on_disk(self) -> Mapping[str, str]:
        return {
            f"{step.tensors}.": f"{STEPS}.{i}."
            for i, step in enumerate(self.config.steps)
            if isinstance(step, WeightedStep) and step.tensors is not None
        }

    def num_rows(self, image: ImageOfTiles) -> int:
        return sum(self._rows_of_tile(grid)[-1] for grid in image.grid_of_each)

    @property
    def planar(self) -> bool:
        return bool(self._squares) or self.tower.planar

    def row_grid(self, grid: Grid) -> Grid | None:
        if not self._squares:
            return self.tower.token_grid(grid)
        frames, rows, columns = self._grid_of_rows(grid)
        side = prod(self._squares)
        return frames, rows // side, columns // side

    def flops(self, image: ImageOfTiles) -> int:
        steps = zip(self.config.steps, self._inputs, strict=True)
        values = [matrix_values(_shapes("", step, width)) for step, width in steps]
        rows = [self._rows_of_tile(grid) for grid in image.grid_of_each]
        return sum(2 * n * each for of_tile in rows for n, each in zip(of_tile, values, strict=False))

    def _rows_of_tile(self, grid: Grid) -> list[int]:
        """Count the rows of a tile in front of every step, and behind the last.

        Raises:
            InputError: If rows are no whole squares.
        """
        count = self.tower.num_tokens(grid)
        counts = [count]
        frames, rows, columns = self._grid_of_rows(grid) if self._squares else (0, 0, 0)
        for step in self.config.steps:
            if side := side_of(step):
                if rows % side or columns % side:
                    raise InputError(
                        f"{rows}x{columns} rows of an image are no whole squares of {side}x{side}, which "
                        f"{step.type} joins; take another number, or another size in image_processor"
                    )
                rows, columns = rows // side, columns // side
                count = frames * rows * columns
            counts.append(count)
        return counts

    def _grid_of_rows(self, grid: Grid) -> Grid:
        """Return the frames, rows and columns that the tower's tokens of a tile form.

        Raises:
            InputError: If they form no grid.
        """
        info, count = self.tower.info, self.tower.num_tokens(grid)
        frames, rows, columns = grid
        if count == frames * rows * columns:
            return grid
        if info.merges and count == info.num_merged_tokens(grid):
            rows, columns = rows // info.merge_size, columns // info.merge_size
            return count // (rows * columns), rows, columns
        raise InputError(
            f"the connector joins squares of {rows}x{columns} patches, but the tower gives {count} tokens; "
            "set feature_select_strategy: default, or leave such steps out"
        )

    def _square_of_patches(self, grid: Grid) -> int:
        """The side of the squares by which the tower gives a tile's tokens; 1 for row by row."""
        count = self.tower.num_tokens(grid)
        return self.tower.info.patch_square if count == grid[0] * grid[1] * grid[2] else 1

    # --- building and running -------------------------------------------------------------------------

    def build(self) -> nn.Module:
        from .step_modules import Steps

        return parts(steps=Steps(self.config.steps, self._inputs))

    def run(
        self, module: nn.Module, features: Tensor | tuple[Tensor, ...], images: Sequence[ImageOfTiles]
    ) -> tuple[Tensor, ...]:
        import torch

        counts = [self.num_rows(image) for image in images]
        rows = features.flatten(0, 1) if isinstance(features, torch.Tensor) else torch.cat(features)
        orders = [order.to(rows.device, non_blocking=True) for order in self._orders(images)]
        made: Tensor = module.get_submodule(STEPS)(rows, orders)
        return torch.split(made, counts)

    def _orders(self, images: Sequence[ImageOfTiles]) -> list[Tensor]:
        """Return, for every step that joins squares, the rows square by square: (rows,) int64."""
        if not self._squares:
            return []
        from .step_modules import rows_by_square

        orders = []
        tiles = [grid for image in images for grid in image.grid_of_each]
        squares = [self._square_of_patches(grid) for grid in tiles]
        grids = [self._grid_of_rows(grid) for grid in tiles]
        for side in self._squares:
            orders.append(rows_by_square(grids, side, squares))
            grids = [(frames, rows // side, columns // side) for frames, rows, columns in grids]
            squares = [1] * len(grids)
        return orders


def side_of(step: Step) -> int:
    """Return the side of the squares that a step joins; 0 if it runs on every row alone."""
    if isinstance(step, SpaceToDepthStep):
        return step.factor
    return step.kernel if isinstance(step, AvgPoolStep) else 0


def _shapes(name: str, step: Step, width: int) -> Shapes:
    """Return the tensors of a step on rows of ``width``."""
    if isinstance(step, NormStep):
        return layer_norm(name, width) if step.kind == "layer" else {f"{name}.weight": (width,)}
    if isinstance(step, LinearStep):
        return linear(name, width, step.width, bias=step.bias)
    if isinstance(step, SwigluStep):
        return linear(name, width, 2 * step.width, bias=step.bias)
    return {}
