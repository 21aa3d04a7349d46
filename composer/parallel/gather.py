"""Rows of all ranks on every rank, of exact sizes, with gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor

from ..errors import InputError
from .group import Report, backend_of, check_backend, lost_ranks_named, together

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup, Work

_WHAT = "gather features"

_all_gather_single = getattr(dist, "all_gather_single", dist.all_gather_into_tensor)
"""Its name since torch 2.13; before."""


class RowGather:
    """A gather under way. Every rank makes one with the same ``counts``, also if it has no rows itself.

    One owner of all rows broadcasts them; otherwise it is one all-gather, which pads ranks to the longest
    only where the backend (all but NCCL) takes no ranks of different sizes. Before data moves, the ranks tell
    each other that all have memory for it: one that has not could not take part, and the others would wait.

    Args:
        rows: (rows, ...) of this rank.
        counts: Rows of every rank.
        group: The ranks.
        requires_grad: Whether gradients flow back; the same on every rank.
        async_op: Go on while data moves; :meth:`wait` then waits for it.

    Raises:
        InputError: If there are more or fewer rows than ``counts`` says, or the group has no backend here.
        OutOfMemoryError: If there is no memory for the rows of the others.
        DistributedError: If another rank failed or is gone.
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
        self._rows, self._counts, self._group = rows, tuple(counts), group
        self._requires_grad = requires_grad

        def prepare() -> tuple[_Transfer, Report]:
            return _Transfer(rows.detach().contiguous(), counts, group), Report()

        transfer, _ = together(group, prepare, what=_WHAT)
        with lost_ranks_named(group, _WHAT):
            self._buffers, self._work = transfer.buffers, transfer.launch()
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


class _Transfer:
    """A collective that is ready to be launched: what is sent, and memory for what comes.

    Args:
        rows: (rows, ...) of this rank.
        counts: Rows of every rank.
        group: The ranks.

    Attributes:
        buffers: Where the rows of every rank will be, some with more rows than there are.
    """

    def __init__(self, rows: Tensor, counts: Sequence[int], group: ProcessGroup) -> None:
        rank = dist.get_rank(group)
        if len(rows) != counts[rank]:
            raise InputError(f"{len(rows)} rows on rank {rank}, where {counts[rank]} were announced")
        check_backend(group, rows.device.type)
        self._rows, self._group = rows, group
        self._owners = [owner for owner, count in enumerate(counts) if count]
        self._whole: Tensor | None = None
        if len(self._owners) < 2:
            self.buffers = [
                rows if owner == rank else _new(rows, count) for owner, count in enumerate(counts)
            ]
            return
        lengths = list(counts)
        if backend_of(group, rows.device.type) != "nccl":
            lengths = [max(counts)] * len(counts)
        if missing := lengths[rank] - len(rows):
            # Written, not left over: what is sent must not depend on what this memory held before.
            self._rows = torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])])
        if len(set(lengths)) == 1:  # torch would allocate the whole when it launches
            self._whole = _new(rows, sum(lengths))
            self.buffers = list(torch.split(self._whole, lengths))
        else:
            self.buffers = [_new(rows, length) for length in lengths]

    def launch(self) -> Work | None:
        """Start to move data; None if there is none."""
        work: Work | None = None
        if len(self._owners) == 1:
            (owner,) = self._owners
            work = dist.broadcast(self.buffers[owner], group=self._group, group_src=owner, async_op=True)
        elif self._whole is not None:
            work = _all_gather_single(self._whole, self._rows, group=self._group, async_op=True)
        elif self._owners:
            work = dist.all_gather(self.buffers, self._rows, group=self._group, async_op=True)
        return work


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
        what = "sum gradients of features"
        total, _ = together(ctx.group, lambda: (torch.cat(gradients), Report()), what=what)
        with lost_ranks_named(ctx.group, what):
            dist.all_reduce(total, group=ctx.group)
        return torch.split(total, ctx.counts)[dist.get_rank(ctx.group)].clone(), None, None
