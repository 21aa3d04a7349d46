"""Data-parallel runs of any vision module: each rank encodes some of the images, and all get all features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import accumulate, pairwise
from math import prod
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import InputError
from .balance import assign_in_order, get_load_balance_assignment
from .group import Report, resolve_group, together
from .outputs import Assignment, OwnRows, exchange_counts, images_in_order, start_gather, without_images

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup
    from torch.distributed.device_mesh import DeviceMesh

_WHAT = "encode images"

_measured: WeakKeyDictionary[nn.Module, dict[tuple[int, ...], int]] = WeakKeyDictionary()
"""Rows that a module made of an image of a grid that it was given alone."""


def run_dp_sharded_vision_model(
    image_input: Tensor, vision_model: nn.Module, *, process_group: ProcessGroup | DeviceMesh | None = None
) -> Tensor:
    """Encode a batch of images of one size, some on every rank.

    Every rank calls this with the whole batch. Gradients flow; see :class:`RowGather`.

    Args:
        image_input: (images, ...), the same on every rank.
        vision_model: Called with (some images, ...). Returns a tensor (images, ...), a tuple or list that
            begins with one or has a tensor for each image, or an output of transformers, of which
            ``last_hidden_state`` is taken.
        process_group: The ranks, or a mesh of one dimension; default: all processes.

    Returns:
        (images, ...) in input order, contiguous.

    Raises:
        InputError: If the output is not one row per image.
        DistributedError: If another rank failed, is gone, or was given another batch.
    """
    group = resolve_group(process_group)
    if group is None:
        return _batch(vision_model(image_input), len(image_input))
    assignment: Assignment = []

    def encode() -> tuple[OwnRows, Report]:
        assignment.extend(assign_in_order(len(image_input), dist.get_world_size(group)))
        mine = assignment[dist.get_rank(group)]
        if mine or not len(image_input):
            rows: Tensor | None = _batch(vision_model(image_input[mine]), len(mine))
        else:
            rows = without_images(vision_model, lambda: _batch(vision_model(image_input[:1]), 1))
        own = OwnRows(rows, [1] * len(mine))
        return own, own.report({"batch": f"{tuple(image_input.shape)}"})

    own, reports = together(group, encode, what=_WHAT)
    if own.rows is not None and not len(image_input):
        return own.rows
    gather = start_gather(
        own, [[1] * len(images) for images in assignment], reports, group, image_input.device
    )
    return torch.cat(gather.wait())


def run_dp_sharded_mrope_vision_model(
    vision_model: nn.Module,
    pixel_values: Tensor,
    grid_thw_list: list[list[int]],
    *,
    rope_type: Literal["rope_3d", "rope_2d"],
    process_group: ProcessGroup | DeviceMesh | None = None,
    rows_of: Callable[[list[int]], int] | None = None,
) -> tuple[Tensor, ...]:
    """Encode images of different sizes in one sequence of patches, some on every rank.

    Every rank calls this with the whole batch. Images go to ranks by their numbers of patches. Gradients
    flow; see :class:`RowGather`.

    A module that returns one tensor for several images does not say where one ends. How many rows it makes
    of a grid is then found by giving it one image of each new grid alone, and checked on every later batch;
    if that does not add up, images are run one by one.

    Args:
        vision_model: Called with the patches of some images and their grids: a list for ``rope_3d``, a
            (images, 3) tensor for ``rope_2d``. Returns a tensor (rows, ...), a tuple or list of one for each
            image, or an output of transformers, of which ``pooler_output`` (merged tokens) is taken, or
            ``last_hidden_state`` where that is None.
        pixel_values: (patches, ...), image after image, the same on every rank.
        grid_thw_list: Frames, patch rows and patch columns of every image.
        rope_type: Which of the two call forms the module has.
        process_group: The ranks, or a mesh of one dimension; default: all processes.
        rows_of: Rows that the module makes of a grid, so that it is called once only. FSDP needs that.

    Returns:
        One (rows, ...) tensor for each image, in input order; each owns its memory if there are several
        ranks.

    Raises:
        InputError: If the grids do not fit the patches, or the rows do not add up.
        DistributedError: If another rank failed, is gone, or was given another batch.
    """
    group = resolve_group(process_group)
    if group is None:
        packed = _PackedModule(vision_model, pixel_values, grid_thw_list, rope_type, rows_of)
        return tuple(packed.encode(range(len(grid_thw_list))))
    ranks = dist.get_world_size(group)
    assignment: Assignment = [[] for _ in range(ranks)]

    def encode() -> tuple[OwnRows, Report]:
        packed = _PackedModule(vision_model, pixel_values, grid_thw_list, rope_type, rows_of)
        packed.check()
        order, counts, _ = get_load_balance_assignment([prod(grid) for grid in grid_thw_list], ranks)
        for rank, (start, end) in enumerate(pairwise([0, *accumulate(counts)])):
            assignment[rank] = sorted(order[start:end])
        parts = packed.encode(assignment[dist.get_rank(group)])
        if parts:
            own = OwnRows(torch.cat(list(parts)), [len(part) for part in parts])
        elif packed.grids:
            own = OwnRows(without_images(vision_model, lambda: packed.encode([0])[0]), [])
        else:
            own = OwnRows(None, [])
        digest = sha256(repr((rope_type, grid_thw_list)).encode()).hexdigest()[:8]
        return own, own.report({"batch": f"{len(grid_thw_list)} images, {digest}"})

    own, reports = together(group, encode, what=_WHAT)
    if not any(report.count for report in reports):
        return ()
    counts = exchange_counts(own.counts, [len(images) for images in assignment], group)
    gather = start_gather(own, counts, reports, group, pixel_values.device)
    return tuple(rows.clone() for rows in images_in_order(gather.wait(), assignment, counts))


class _RowCountError(InputError):
    """A packed output of another length than its images have rows."""


class _PackedModule:
    """A module of packed images, called for some of a batch."""

    def __init__(
        self,
        module: nn.Module,
        pixels: Tensor,
        grids: Sequence[Sequence[int]],
        rope_type: str,
        rows_of: Callable[[list[int]], int] | None,
    ) -> None:
        self.module, self.pixels, self.rope_type, self.rows_of = module, pixels, rope_type, rows_of
        self.grids = [tuple(grid) for grid in grids]
        self.starts = [0, *accumulate(prod(grid) for grid in self.grids)]
        self.measured = _measured.setdefault(module, {})

    def check(self) -> None:
        """Refuse what is not one batch."""
        if self.rope_type not in ("rope_2d", "rope_3d"):
            raise InputError(f"rope_type must be rope_2d or rope_3d, not {self.rope_type!r}")
        if self.starts[-1] != len(self.pixels):
            raise InputError(
                f"grid_thw_list stands for {self.starts[-1]} patches, and pixel_values has {len(self.pixels)}"
            )

    def encode(self, images: Sequence[int]) -> Sequence[Tensor]:
        """Rows of each of ``images``."""
        self.check()
        if self.rows_of is not None:
            return self._run(images, [self.rows_of(list(self.grids[i])) for i in images])
        new = {self.grids[i]: i for i in reversed(images) if self.grids[i] not in self.measured}
        parts: dict[int, Tensor] = {}
        for image in sorted(new.values()):
            (parts[image],) = self._run([image], None)
            self.measured[self.grids[image]] = len(parts[image])
        others = [i for i in images if i not in parts]
        known = [self.measured[self.grids[i]] for i in others]
        try:
            rest = self._run(others, known)
        except _RowCountError:  # a module that mixes its images, or makes other rows than it did before
            rest = [self._run([i], None)[0] for i in others]
        parts |= dict(zip(others, rest, strict=True))
        return [parts[i] for i in images]

    def _run(self, images: Sequence[int], counts: Sequence[int] | None) -> Sequence[Tensor]:
        """One call of the module; ``counts`` None for one image of unknown rows."""
        if not images:
            return []
        pixels = torch.cat([self.pixels[self.starts[i] : self.starts[i + 1]] for i in images])
        grids = [list(self.grids[i]) for i in images]
        output = self.module(pixels, torch.tensor(grids) if self.rope_type == "rope_2d" else grids)
        if isinstance(output, (tuple, list)) and len(output) == len(images):
            return list(output)
        rows = _rows(output)
        counts = counts or [len(rows)]
        if sum(counts) != len(rows):
            raise _RowCountError(
                f"the vision model made {len(rows)} rows of images {list(images)}, where rows_of says "
                f"{list(counts)}"
            )
        return torch.split(rows, list(counts))


def _rows(output: Any) -> Tensor:
    """The rows of a packed output."""
    if isinstance(output, Tensor):
        return output
    pooled = getattr(output, "pooler_output", None)
    rows = pooled if pooled is not None else getattr(output, "last_hidden_state", None)
    if not isinstance(rows, Tensor):
        raise InputError(f"the vision model returned {type(output).__name__}, which has no rows of features")
    return rows


def _batch(output: Any, images: int) -> Tensor:
    """The features (images, ...) in what a module returned for a batch."""
    if getattr(output, "last_hidden_state", None) is not None:
        output = output.last_hidden_state
    elif isinstance(output, (tuple, list)) and output:
        first = output[0]
        one_each = len(output) == images and not (first.dim() > 2 and len(first) == images)
        output = torch.stack(list(output)) if one_each else first
    if not isinstance(output, Tensor) or len(output) != images:
        made = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise InputError(f"the vision model made {made} of {images} images; expected (images, ...)")
    return output
