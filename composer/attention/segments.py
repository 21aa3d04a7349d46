"""Segments: the consecutive pieces of a packed sequence, each of which attends to itself only."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from .sending import Parcel

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

_WORTH_A_CALL = 256
"""From this many tokens on, one more call of attention costs less than moving the tokens."""


class Segments:
    """Consecutive pieces of a sequence, each of which attends to itself only.

    Attention runs once per group of pieces of one length, not once per piece. Neighbours of one length are a
    group; if they are few tokens, all pieces of that length are one, and tokens are moved for it.

    Args:
        lengths: Tokens of each piece, in order; all at least 1.
        device: The device of the indices, or the parcel that takes what they are made of there. With a
            parcel, they are made on first use.

    Attributes:
        groups: (1 + groups, 2) int64 on the CPU. The first row says whether the groups have the tokens in the
            order of the sequence, and how many tokens there are; the others say, for each group, the length
            and the number of its pieces.
        num_tokens: Length of the sequence.
        max_length: Length of the longest piece.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device | str | Parcel = "cpu") -> None:
        sizes = np.asarray(lengths, dtype=np.int64)
        begin = np.flatnonzero(np.diff(sizes, prepend=0))  # no piece has 0 tokens
        counts = np.diff(begin, append=len(sizes))
        self.num_tokens = int(sizes.sum())
        in_order = self.num_tokens >= _WORTH_A_CALL * len(begin)
        if in_order:
            grouped = np.stack([sizes[begin], counts], axis=1)
            pieces = np.arange(len(sizes))
        else:
            distinct, first, kind = np.unique(sizes, return_index=True, return_inverse=True)
            ranks = np.argsort(first)  # lengths in the order in which they first come
            pieces = np.argsort(np.argsort(ranks)[kind], kind="stable")
            grouped = np.stack([distinct[ranks], np.bincount(kind)[ranks]], axis=1)
            in_order = bool((np.diff(pieces) == 1).all())
        rows: list[list[int]] = grouped.tolist()
        self.groups = torch.tensor([[int(in_order), self.num_tokens], *rows], device="cpu")
        self.max_length = int(sizes.max())
        parcel = device if isinstance(device, Parcel) else Parcel(device)
        self._device = parcel.device
        self._starts = parcel.add(torch.from_numpy(np.append(0, sizes.cumsum()).astype(np.int32)))
        self._pieces = None if in_order else parcel.add(torch.from_numpy(pieces.astype(np.int32)))
        if parcel is not device:
            self.make()

    def make(self) -> None:
        """Make the indices now: torch.compile should not see how."""
        _ = self.cu_seqlens, self.order, self.inverse

    @cached_property
    def cu_seqlens(self) -> Tensor:
        """The first token of each piece, and the end, (pieces + 1,) int32 on the device."""
        return self._starts()

    @cached_property
    def order(self) -> Tensor:
        """The tokens in the order of the groups, (tokens,) int64 on the device."""
        return self._permutations[0]

    @cached_property
    def inverse(self) -> Tensor:
        """The permutation back, (tokens,) int64 on the device."""
        return self._permutations[1]

    @cached_property
    def _permutations(self) -> tuple[Tensor, Tensor]:
        tokens = torch.arange(self.num_tokens, device=self._device)
        if self._pieces is None:
            return tokens, tokens.clone()  # compiled code of two tensors serves no batch with one for both
        starts, pieces = self.cu_seqlens[:-1].long(), self._pieces().long()
        lengths = self.cu_seqlens.diff()
        moved = lengths[pieces]  # the lengths in the order of the groups
        shifts = starts[pieces] - (moved.cumsum(0) - moved)
        order = tokens + shifts.repeat_interleave(moved, output_size=self.num_tokens)
        inverse = torch.empty_like(order).index_copy_(0, order, tokens)
        return order, inverse

    def padded(self, pieces: int, max_length: int) -> Segments:
        """Return the same segments with empty ones behind them, for kernels that read ``cu_seqlens`` only.

        Args:
            pieces: The number of segments then.
            max_length: What is said to be the longest one, at least as long as it is.
        """
        padded = copy(self)
        missing = pieces + 1 - len(self.cu_seqlens)
        padded.cu_seqlens = pad(self.cu_seqlens, (0, missing), value=self.num_tokens)
        padded.max_length = max_length
        return padded

    @cached_property
    def block_mask(self) -> BlockMask:
        """flex_attention's mask of the segments, on the device; made on first use."""
        from .block_mask import segment_block_mask

        return segment_block_mask(self.cu_seqlens, self.num_tokens)
