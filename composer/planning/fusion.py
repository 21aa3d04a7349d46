"""What a config of several towers amounts to: the plan of each, and what comes of their tokens together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any

from ..connectors import AnyConnector, ImageOfTiles, TowerOutput, connector_of
from ..encoders import Grid, family_of
from ..encoders.shapes import Shapes, linear
from ..errors import ConfigError, InputError, Problem
from ..fusion.grids import FusedTower, Fusion, MisfitError
from ..fusion.naming import naming
from ..images.resize import ResizeRule
from ..images.settings import ProcessorSettings, overlaid
from ..images.tiling import TilePlan
from ..schemas import FusedConfig
from .base import BYTES_PER_PARAMETER, VisionPlan
from .quantised import bytes_saved
from .tower import Plan, plan_config


@dataclass(frozen=True)
class FusedPlan(VisionPlan):
    """Every fact of several towers as one encoder that follows from their config.

    Attributes:
        config: The config it was made from.
        towers: The plan of every tower, by name.
        fusion: How their tokens are joined.
        processor: The image processor of ``input: shared``; None if every tower has its own.
        connector: What stands between the joined tokens and the language model; None if it is not built.
    """

    config: FusedConfig
    towers: Mapping[str, Plan]
    fusion: Fusion
    processor: ProcessorSettings | None = field(default=None, repr=False)
    connector: AnyConnector | None = field(default=None, repr=False)

    @property
    def image_size(self) -> int:
        return max(tower.image_size for tower in self.towers.values())

    @property
    def ragged(self) -> bool:
        return any(tower.ragged for tower in self.towers.values())

    @property
    def output_width(self) -> int:
        return self.fusion.width if self.connector is None else self.connector.width

    @property
    def layout(self) -> str:
        if self.connector is not None:
            return "(rows, width) per image"
        return "(tokens, width) per image" if self.ragged else "(images, tokens, width)"

    @property
    def projection_shapes(self) -> Shapes:
        """Every tensor of the towers' projections, under its name in a checkpoint."""
        shapes: Shapes = {}
        for tower in self.fusion.towers:
            if tower.projected is not None:
                bias = self.config.project[tower.name].bias
                shapes |= linear(f"project.{tower.name}", tower.own_width, tower.projected, bias=bias)
        return shapes

    @property
    def shapes_beside(self) -> Shapes:
        """Every tensor outside the towers."""
        return self.projection_shapes | ({} if self.connector is None else self.connector.shapes())

    @property
    def num_checkpoint_tensors(self) -> int | None:
        return _sum([tower.num_checkpoint_tensors for tower in self.towers.values()], len(self.shapes_beside))

    @cached_property
    def num_parameters(self) -> int | None:
        return _sum([tower.num_parameters for tower in self.towers.values()], self._values_beside)

    @property
    def num_bytes(self) -> int | None:
        each = BYTES_PER_PARAMETER[self.dtype]
        connector = {} if self.connector is None else self.connector.layer_shapes()
        beside = self._values_beside * each - bytes_saved(connector, self.config.quantize, each)
        return _sum([tower.num_bytes for tower in self.towers.values()], beside)

    @property
    def _values_beside(self) -> int:
        return sum(map(prod, self.shapes_beside.values()))

    @property
    def shared_rule(self) -> ResizeRule | None:
        """The size of the pixels that all towers share; None if every tower has its own."""
        if self.processor is None:
            return None
        first = next(iter(self.towers.values())).encoder
        rule: ResizeRule = family_of(first).resize_rule(first, self.processor)
        return rule

    def grids(self, width: int, height: int, frames: int = 1) -> tuple[Grid, ...]:
        """Return an image's grid of patches in every tower; arguments and errors as :meth:`num_tokens`."""
        if self.shared_rule is not None and min(width, height) > 0:
            width, height = self.shared_rule(width, height)
        found = []
        for name, tower in self.towers.items():
            try:
                found.append(tower.info.grid(width, height, frames))
            except InputError as error:
                raise MisfitError(name, str(error)) from error
        return tuple(found)

    def num_tokens(self, width: int, height: int, frames: int = 1) -> int:
        grid = self.fusion.grid_of(self.grids(width, height, frames))
        return prod(grid) if self.connector is None else self.connector.num_rows(one_image(grid))

    def flops(self, width: int, height: int) -> int | None:
        grids = self.grids(width, height)
        if self.shared_rule is not None:
            width, height = self.shared_rule(width, height)
        beside = 0
        for tower, grid in zip(self.fusion.towers, grids, strict=True):
            if tower.projected is not None:
                tokens = self.fusion.num_tokens_of(tower, grid)
                beside += 2 * tokens * tower.own_width * tower.projected
        if self.connector is not None:
            beside += self.connector.flops(one_image(self.fusion.grid_of(grids)))
        return _sum([tower.flops(width, height) for tower in self.towers.values()], beside)

    def to_dict(self, sizes: Iterable[tuple[int, int]] = ()) -> dict[str, Any]:
        config, connector = self.config, self.config.connector
        own = None if connector is None else connector.weights or config.weights
        return {
            "name": config.name,
            "summary": config.summary,
            "towers": {name: tower.to_dict() for name, tower in self.towers.items()},
            "input": config.input if config.shared is None else config.shared.model_dump(),
            "image_processor": self.processor and self.processor.to_dict(),
            "align": config.align.model_dump(mode="json"),
            "project": {name: block.width for name, block in config.project.items()},
            "fuse": config.fuse,
            "output": config.output,
            "connector": None if connector is None else connector.type,
            "connector_weights": own and own.source,
            "output_layout": self.layout,
            "output_width": self.output_width,
            "dtype": self.dtype,
            "quantize": config.quantize,
            "num_parameters": self.num_parameters,
            "num_bytes": self.num_bytes,
            "num_checkpoint_tensors": self.num_checkpoint_tensors,
            "parallel": "none" if config.parallel == "none" else config.parallel.model_dump(),
            "images": self.images(sizes),
        }


def one_image(grid: Grid) -> ImageOfTiles:
    """Return an image whose joined tokens have this grid, as a connector sees it."""
    return ImageOfTiles(TilePlan(), grid)


def plan_fused(config: FusedConfig, processors: Sequence[ProcessorSettings] | None = None) -> FusedPlan:
    """Plan a validated config of several towers.

    Args:
        config: The config.
        processors: The image processor of every tower. Default: those of :func:`processor_settings`.

    Raises:
        ConfigError: If the config cannot work, or the towers do not fit together.
        WeightsError: If a checkpoint's processor config is broken, or not for its encoder; names the tower.
    """
    of_towers: Sequence[ProcessorSettings | None] = processors or [None] * len(config.towers)
    towers = {}
    for (name, tower), processor in zip(config.towers_by_name.items(), of_towers, strict=True):
        with naming(name):
            towers[name] = plan_config(tower, processor)
    widths = {name: project.width for name, project in config.project.items()}
    parts = tuple(
        FusedTower(name, plan.info, plan.readout.num_tokens, plan.output_width, widths.get(name))
        for name, plan in towers.items()
    )
    align = config.align
    grid = None if align.grid is None else (align.grid[0], align.grid[1])
    fusion = Fusion(parts, config.fuse, grid, align.resample, align.align_corners)
    plan = FusedPlan(config, towers, fusion, _shared_processor(config, towers))
    with config.locating():
        grid_of_all = _check_fit(plan)
        if config.output == "embeds" and config.connector is not None:
            plan = replace(plan, connector=_connector(plan, grid_of_all))
    return plan


def _shared_processor(config: FusedConfig, towers: Mapping[str, Plan]) -> ProcessorSettings | None:
    """Return the first tower's image processor with what the root sets of it, for ``input: shared``."""
    if config.shared is None:
        return None
    with config.locating():
        return overlaid(next(iter(towers.values())).processor, config.image_processor)


def _check_fit(plan: FusedPlan) -> Grid:
    """Check that the towers fit together, and return the grid of the joined tokens of a square image.

    Raises:
        ConfigError: If they do not; names the tower.
    """
    side = plan.image_size
    try:
        plan.fusion.check_widths()
        grid = plan.fusion.grid_of(plan.grids(side, side))
        if plan.config.input == "stacked":
            _check_stack(plan.towers, side)
    except MisfitError as error:
        raise ConfigError(Problem("VC213", error.reason, f"towers.{error.tower}")) from None
    return grid


def _check_stack(towers: Mapping[str, Plan], side: int) -> None:
    """Check that all towers take pixels of one size.

    Raises:
        MisfitError: If they do not.
    """
    sizes = {name: tower.info.resized(side, side) for name, tower in towers.items()}
    (first, joint), *others = sizes.items()
    for name, size in others:
        if size != joint:
            raise MisfitError(
                name,
                f"its image processor makes {size[0]}x{size[1]} pixels, and that of {first} "
                f"{joint[0]}x{joint[1]}; to be stacked they need one size in image_processor",
            )


def _connector(plan: FusedPlan, grid: Grid) -> AnyConnector:
    """Return the connector behind joined tokens, which form ``grid`` for a square image.

    Raises:
        ConfigError: If it does not fit them.
    """
    block = plan.config.connector
    assert block is not None  # of `output: embeds`
    first = next(iter(plan.towers.values()))
    # Joined tokens come row by row, one of each cell, whatever the towers' did.
    info = replace(first.info, any_size=True, patch_square=1, merge_size=1, out_hidden_size=0)
    tower = TowerOutput(first.encoder, info, plan.fusion.width, 1, prod, lambda grid: grid, planar=True)
    connector = connector_of(block, tower)
    try:
        connector.num_rows(one_image(grid))
    except InputError as error:
        key = "steps" if block.type == "steps" else "type"
        message = f"{error}; fuse and align make the grid of what is joined"
        raise ConfigError(Problem("VC211", message, f"connector.{key}")) from None
    return connector


def _sum(parts: Sequence[int | None], beside: int) -> int | None:
    known = [part for part in parts if part is not None]
    return sum(known) + beside if len(known) == len(parts) else None
