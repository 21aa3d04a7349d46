"""Consecutive pieces of a sequence, each of which attends to itself only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate, groupby
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

_WORTH_A_CALL = 256
"""Tokens from which on one more call of attention costs less than moving them would."""


class Segments:
    """Consecutive pieces of a sequence, each of which attends to itself only.

    Attention runs once per group of pieces of one length and not once per piece: neighbours are a group, or,
    where those are few tokens, all pieces of that length, for which tokens are moved.

    Args:
        lengths: Tokens of each piece, in order; all at least 1.
        device: Where the indices go.

    Attributes:
        groups: (1 + groups, 2) int64 on the CPU: whether the groups' order of tokens is the sequence's, and
            tokens in all; then for each group the length and the number of its pieces.
        order: (tokens,) int64 on the device, tokens in the order of the groups.
        inverse: (tokens,) int64 on the device, the way back.
        cu_seqlens: (pieces + 1,) int32 on the device, first token of each piece and the end.
        max_length: Longest piece.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device | str = "cpu") -> None:
        starts = [0, *accumulate(lengths)]
        sizes = [(length, len(list(run))) for length, run in groupby(lengths)]
        order = torch.arange(starts[-1])
        if starts[-1] < _WORTH_A_CALL * len(sizes):
            by_length: dict[int, list[Tensor]] = {}
            for length, piece in zip(lengths, torch.split(order, list(lengths)), strict=True):
                by_length.setdefault(length, []).append(piece)
            sizes = [(length, len(pieces)) for length, pieces in by_length.items()]
            order = torch.cat([piece for pieces in by_length.values() for piece in pieces])
        in_order = bool((order.diff() == 1).all())
        self.groups = torch.tensor([(int(in_order), starts[-1]), *sizes])
        self.order = order.to(device)
        self.inverse = order.argsort().to(device)
        self.cu_seqlens = torch.tensor(starts, dtype=torch.int32, device=device)
        self.max_length = max(lengths)

    @cached_property
    def block_mask(self) -> BlockMask:
        """flex_attention's mask of the segments, on the device."""
        from ..attention.block_mask import segment_block_mask

        return segment_block_mask(self.cu_seqlens, len(self.order))
