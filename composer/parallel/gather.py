"""Rows of all ranks on every rank, of exact sizes, with gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import InputError
from .group import backend_of, lost_ranks_named

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup, Work

_WHAT = "gather features"


class RowGather:
    """A gather under way. Every rank makes one with the same ``counts``, also if it has no rows itself.

    One owner of all rows broadcasts them; otherwise it is one all-gather, which pads ranks to the longest
    only where the backend (all but NCCL) takes no ranks of different sizes.

    Args:
        rows: (rows, ...) of this rank.
        counts: Rows of every rank.
        group: The ranks.
        requires_grad: Whether gradients flow back; the same on every rank.
        async_op: Go on while data moves; :meth:`wait` then waits for it.

    Raises:
        InputError: If there are more or fewer rows than ``counts`` says, or the group has no backend here.
        DistributedError: If another rank is gone.
    """

    def __init__(
        self,
        rows: Tensor,
        counts: Sequence[int],
        group: ProcessGroup,
        *,
        requires_grad: bool = False,
        async_op: bool = False,
    ) -> None:
        rank = dist.get_rank(group)
        if len(rows) != counts[rank]:
            raise InputError(f"{len(rows)} rows on rank {rank}, where {counts[rank]} were announced")
        self._rows, self._counts, self._group = rows, tuple(counts), group
        self._requires_grad = requires_grad
        with lost_ranks_named(group, _WHAT):
            self._buffers, self._work = _launch(rows.detach().contiguous(), counts, group)
            if not async_op:
                self._finish()

    def wait(self) -> tuple[Tensor, ...]:
        """The rows of every rank, by rank.

        With gradients, the gradient of this rank's rows is the sum over all ranks of those that reach them
        there. Every rank must then run its backward, as with any collective.
        """
        with lost_ranks_named(self._group, _WHAT):
            self._finish()
        parts = [buffer[:count] for buffer, count in zip(self._buffers, self._counts, strict=True)]
        if not (self._requires_grad and torch.is_grad_enabled()):
            return tuple(parts)
        rows = self._rows if self._rows.requires_grad else self._rows.detach().requires_grad_()
        gathered: tuple[Tensor, ...] = _Connect.apply(rows, parts, self._group)  # type: ignore[no-untyped-call]  # untyped in torch
        return gathered

    def _finish(self) -> None:
        if self._work is not None:
            self._work.wait()
            self._work = None


def _launch(rows: Tensor, counts: Sequence[int], group: ProcessGroup) -> tuple[list[Tensor], Work | None]:
    backend = backend_of(group, rows.device.type)
    if backend is None:
        raise InputError(f"the process group has no backend for tensors on {rows.device.type}")
    rank = dist.get_rank(group)
    owners = [owner for owner, count in enumerate(counts) if count]
    if len(owners) < 2:
        buffers = [rows if owner == rank else _new(rows, count) for owner, count in enumerate(counts)]
        if not owners:
            return buffers, None
        return buffers, dist.broadcast(buffers[owners[0]], group=group, group_src=owners[0], async_op=True)
    lengths = list(counts) if backend == "nccl" else [max(counts)] * len(counts)
    if missing := lengths[rank] - len(rows):
        # Written, not left over: what is sent must not depend on what this memory held before.
        rows = torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])])
    buffers = [_new(rows, length) for length in lengths]
    return buffers, dist.all_gather(buffers, rows, group=group, async_op=True)


def _new(rows: Tensor, length: int) -> Tensor:
    return rows.new_empty(length, *rows.shape[1:])


class _Connect(torch.autograd.Function):
    """Joins gathered rows to the graph of this rank's own."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, parts: Sequence[Tensor], group: ProcessGroup) -> tuple[Tensor, ...]:
        ctx.counts, ctx.group = [len(part) for part in parts], group
        return tuple(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        total = torch.cat(gradients)
        with lost_ranks_named(ctx.group, "sum gradients of features"):
            dist.all_reduce(total, group=ctx.group)
        return torch.split(total, ctx.counts)[dist.get_rank(ctx.group)].clone(), None, None
