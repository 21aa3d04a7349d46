"""What a rank made of its images, and what all ranks made of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import DistributedError, InputError
from .gather import RowGather
from .group import Report, control_group, lost_ranks_named

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

Assignment = list[list[int]]
"""Images of every rank, by rank; on each in the order in which it encodes them."""


@dataclass(frozen=True)
class OwnRows:
    """Features of one rank's images.

    Attributes:
        rows: (rows, ...), image after image. On a rank without images None, or no rows that gradients flow
            through.
        counts: Rows of every image.
    """

    rows: Tensor | None
    counts: list[int]

    def report(self, facts: dict[str, str]) -> Report:
        """What the other ranks must know of them."""
        if self.rows is None or not self.counts:
            return Report(facts, requires_grad=self.rows is not None and self.rows.requires_grad)
        return Report(
            facts,
            count=len(self.counts),
            dtype=str(self.rows.dtype).removeprefix("torch."),
            shape=tuple(self.rows.shape[1:]),
            requires_grad=self.rows.requires_grad,
        )


def start_gather(
    own: OwnRows,
    counts: Sequence[Sequence[int]],
    reports: Sequence[Report],
    group: ProcessGroup,
    device: torch.device,
    *,
    async_op: bool = False,
) -> RowGather:
    """Send this rank's rows to all, and receive theirs.

    Args:
        own: This rank's.
        counts: Rows of every image of every rank, by rank.
        reports: What the ranks reported.
        group: The ranks.
        device: Where a rank without rows receives.
        async_op: Go on while data moves.

    Raises:
        DistributedError: If the ranks' features differ in dtype or width.
    """
    return RowGather(
        own_rows(own, reports, device),
        [sum(of_rank) for of_rank in counts],
        group,
        requires_grad=any(report.requires_grad for report in reports),
        async_op=async_op,
    )


def own_rows(own: OwnRows, reports: Sequence[Report], device: torch.device) -> Tensor:
    """This rank's rows; without images, no rows like those of the others.

    Raises:
        DistributedError: If the ranks' features differ in dtype or width.
    """
    dtype, shape = agreed_layout(reports)
    if own.rows is None:
        return torch.empty((0, *shape), dtype=dtype, device=device)
    return own.rows if own.counts else own.rows.reshape(0, *shape).to(dtype)


def agreed_layout(reports: Sequence[Report]) -> tuple[torch.dtype, tuple[int, ...]]:
    """dtype of all features and their axes behind the first, which a rank without images learns so.

    Raises:
        DistributedError: If ranks differ, or none has features, so that nobody knows.
    """
    layouts = {(report.dtype, report.shape): rank for rank, report in enumerate(reports) if report.dtype}
    if len(layouts) != 1:
        found = "; ".join(f"rank {rank}: {dtype} {(..., *shape)}" for (dtype, shape), rank in layouts.items())
        raise DistributedError(f"the features of the ranks do not fit together: {found or 'there are none'}")
    (dtype, shape) = next(iter(layouts))
    return getattr(torch, dtype), shape


def exchange_counts(mine: Sequence[int], lengths: Sequence[int], group: ProcessGroup) -> list[list[int]]:
    """Every rank's list of numbers on every rank.

    Args:
        mine: This rank's.
        lengths: How many numbers each rank has.
        group: The ranks.
    """
    missing = max(lengths) - len(mine)
    padded = torch.tensor([*mine, *[0] * missing], dtype=torch.int64, device="cpu")
    table = [torch.zeros_like(padded) for _ in lengths]
    with lost_ranks_named(group, "exchange row counts"):
        dist.all_gather(table, padded, group=control_group(group))
        rows = torch.stack(table).tolist()
    return [row[:length] for row, length in zip(rows, lengths, strict=True)]


def images_in_order(
    parts: Sequence[Tensor], assignment: Assignment, counts: Sequence[Sequence[int]]
) -> list[Tensor]:
    """Every image's rows, in input order, as parts of what the ranks sent.

    Args:
        parts: Rows of every rank, by rank, image after image.
        assignment: Images of every rank.
        counts: Rows of every image of every rank, like ``assignment``.
    """
    images: dict[int, Tensor] = {}
    for part, own, rows in zip(parts, assignment, counts, strict=True):
        images |= zip(own, torch.split(part, list(rows)), strict=True)
    return [images[i] for i in range(len(images))]


def check_counts(got: Sequence[int], images: Sequence[int], planned: Sequence[int]) -> None:
    """Compare the rows that came out with those that were planned.

    Raises:
        InputError: If they differ; it names the image.
    """
    for image, count, expected in zip(images, got, planned, strict=True):
        if count != expected:
            raise InputError(f"image {image} gave {count} rows, where {expected} were planned")


def without_images(module: nn.Module, run: Callable[[], Tensor]) -> Tensor | None:
    """What a rank without images contributes: no rows, but a place in the graph where one is needed.

    Gradients are summed over ranks, by DDP or FSDP, and FSDP gathers parameters in the forward too: a rank
    that skipped the module would leave the others waiting.

    Args:
        module: The module that the others run.
        run: Runs it on some image, and returns rows.
    """
    trains = torch.is_grad_enabled() and any(parameter.requires_grad for parameter in module.parameters())
    return run()[:0] if trains or _is_sharded(module) else None


def _is_sharded(module: nn.Module) -> bool:
    from torch.distributed.fsdp import FSDPModule

    return any(isinstance(child, FSDPModule) for child in module.modules())
