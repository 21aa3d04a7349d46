"""What encoding an image costs, from the plan or as it was measured. Loads no torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..encoders.facts import Grid
from ..errors import InputError
from ..files import read_json
from ..images.steps import Steps

if TYPE_CHECKING:
    from ..planning import Plan

    FloatArray = np.ndarray[Any, np.dtype[np.float64]]

_FORMAT = "vision-composer costs 1"
_FIELDS = ("seconds_per_image", "seconds_per_linear_flop", "seconds_per_attention_flop")
_OF_A_FORWARD = "seconds_per_forward"
"""Older tables have none: what a forward costs is in ``seconds_per_image`` there."""


class Measurement(NamedTuple):
    """How long the encoder took for one image, or for several of one size.

    Attributes:
        grid: Frames, patch rows and patch columns of each image.
        seconds: Wall time of a forward.
        images: How many images it had.
    """

    grid: tuple[int, int, int]
    seconds: float
    images: int = 1


@dataclass(frozen=True)
class CostModel:
    """The cost of an image: a share of its own, one linear in its tokens, and one of its pairs of tokens.

    Without a calibration the cost is the plan's FLOPs, which counts windows of attention as windows. A
    device takes longer for an operation of one kind than of another; :meth:`fit` learns that from times.

    Attributes:
        plan: The encoder's.
        seconds_per_image: What every image costs, whatever its size.
        seconds_per_linear_flop: Of projections, MLPs, patch embedding and head.
        seconds_per_attention_flop: Of attention's two products.
        seconds_per_forward: What a forward costs beside its images, such as launching its kernels; no part of
            an image's cost, because a rank runs one forward however many images it has.
        measurements: What the model was fitted to; empty if it was not.
    """

    plan: Plan
    seconds_per_image: float = 0.0
    seconds_per_linear_flop: float = 1e-12
    seconds_per_attention_flop: float = 1e-12
    seconds_per_forward: float = 0.0
    measurements: tuple[Measurement, ...] = field(default=(), repr=False)
    _known: dict[tuple[int, int, int], int] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __call__(self, grid: tuple[int, int, int]) -> int:
        """Picoseconds for an image or clip of a grid: an integer, so that it is the same on every machine."""
        if grid not in self._known:
            linear, attention = _flops(self._at_own_size, grid)
            seconds = (
                self.seconds_per_image
                + self.seconds_per_linear_flop * linear
                + self.seconds_per_attention_flop * attention
            )
            self._known[grid] = max(1, round(seconds * 1e12))
        return self._known[grid]

    @cached_property
    def _at_own_size(self) -> Plan:
        """The plan for images that were resized already."""
        resize = Steps() if self.plan.info.any_size else None
        return replace(self.plan, info=replace(self.plan.info, resize=resize))

    @classmethod
    def fit(cls, plan: Plan, measurements: Iterable[Measurement]) -> CostModel:
        """The model that comes closest to times that were measured, by relative error.

        What a forward costs beside its images can be told from what an image costs only if some forwards had
        several images. Otherwise it counts as the image's.

        Args:
            plan: The encoder's.
            measurements: Of images of several sizes, from small to as large as there will be.

        Raises:
            InputError: If there are no two sizes, or a time is not a positive number.
        """
        table = tuple(measurements)
        for grid, seconds, images in table:
            if len(grid) != 3 or min(*grid, images) < 1 or not 0 < seconds < float("inf"):
                raise InputError(f"{seconds} s for {images} images of the grid {grid} is not a measurement")
        if len({m.grid for m in table}) < 2:
            raise InputError("a cost model needs measurements of at least two sizes of images")
        own = cls(plan)._at_own_size
        of_images = [[m.images * term for term in (1.0, *_flops(own, m.grid))] for m in table]
        several = any(m.images > 1 for m in table)
        terms = np.array([[*image, 1.0] if several else image for image in of_images])
        found = _non_negative(terms, np.array([m.seconds for m in table]))
        image, linear, attention, forward = found if several else [*found, 0.0]
        return cls(plan, image, linear, attention, forward, table)

    def save(self, path: str | Path) -> None:
        """Write the model and what it was fitted to as JSON, for ``parallel.cost_table``.

        Raises:
            InputError: If the file cannot be written.
        """
        table = {
            "format": _FORMAT,
            "encoder": _identity(self.plan),
            **{name: getattr(self, name) for name in (*_FIELDS, _OF_A_FORWARD)},
            "measurements": [m._asdict() for m in self.measurements],
        }
        try:
            Path(path).write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: str | Path, plan: Plan) -> CostModel:
        """Read a model that :meth:`save` wrote.

        Raises:
            InputError: If the file cannot be read, is no table of costs, or is of another encoder.
        """
        try:
            table = read_json(path)
            if table["format"] != _FORMAT:
                raise ValueError(f"format is {table['format']!r}")
            image, linear, attention = (float(table[name]) for name in _FIELDS)
            forward = float(table.get(_OF_A_FORWARD, 0))
            measurements = tuple(
                Measurement(tuple(m["grid"]), m["seconds"], m.get("images", 1)) for m in table["measurements"]
            )
            encoder = table["encoder"]
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError) as error:
            reason = f"it has no {error}" if isinstance(error, KeyError) else error
            raise InputError(
                f"{path}: not a table of costs as bench --calibrate writes it: {reason}"
            ) from error
        costs = (image, linear, attention, forward)
        if not all(0 <= value < float("inf") for value in costs):
            raise InputError(f"{path}: costs are negative or infinite: {', '.join(map(str, costs))}")
        if encoder != _identity(plan):
            raise InputError(f"{path}: was measured with {encoder}, and this encoder is {_identity(plan)}")
        return cls(plan, *costs, measurements)


def sum_of_costs(models: Sequence[CostModel]) -> Callable[[Grid], int]:
    """Return the cost of an image that several towers run: the sum of theirs.

    The grid that it is called with is that of the towers that take images of several sizes; of several such
    towers with different patches it is about so. The others have one grid for all images.

    Args:
        models: What an image costs in every tower.
    """
    if len(models) == 1:
        return models[0]
    infos = [model.plan.info for model in models]
    varies = [info.ragged or info.any_size for info in infos]
    own = [
        None if any_size else info.grid(info.image_size, info.image_size)
        for info, any_size in zip(infos, varies, strict=True)
    ]

    def cost(grid: Grid) -> int:
        return sum(model(fixed or grid) for model, fixed in zip(models, own, strict=True))

    return cost


def _identity(plan: Plan) -> dict[str, Any]:
    """What the costs depend on, beside the machine."""
    info = plan.info
    return {
        "model_type": info.model_type,
        "hidden_size": info.hidden_size,
        "patch_size": info.patch_size,
        "num_blocks": plan.num_blocks,
        "dtype": plan.dtype,
    }


def _flops(plan: Plan, grid: tuple[int, int, int]) -> tuple[int, int]:
    """Linear and attention FLOPs of an image or clip."""
    _, rows, columns = grid
    # Tiles are no frames: an image is run as as many tiles as there can be.
    frames = grid[0] // plan.info.num_sequences(grid)
    size = (columns * plan.info.patch_size, rows * plan.info.patch_size)
    total = plan.flops(*size)
    if total is None:  # the generic adapter's images are all of one size
        return frames * rows * columns, 0
    attention = plan.attention_flops(size)
    together = frames if plan.info.attends_across_frames else 1
    return frames * (total - attention), frames * together * attention


def _non_negative(terms: FloatArray, seconds: FloatArray) -> list[float]:
    """Coefficients of least relative squares, none of them negative: the best of every choice of terms."""
    best, coefficients = float("inf"), [0.0] * terms.shape[1]
    weighted = terms / seconds[:, None]
    scale = weighted.max(axis=0)
    scale[scale == 0] = 1.0
    for count in range(1, terms.shape[1] + 1):
        for chosen in combinations(range(terms.shape[1]), count):
            columns = list(chosen)
            part = weighted[:, columns] / scale[columns]
            solution = np.linalg.lstsq(part, np.ones(len(seconds)), rcond=None)[0]
            error = float(np.square(part @ solution - 1).sum())
            if (solution >= 0).all() and error < best * (1 - 1e-9):
                best, coefficients = error, [0.0] * terms.shape[1]
                for column, value in zip(columns, solution / scale[columns], strict=True):
                    coefficients[column] = float(value)
    return coefficients
