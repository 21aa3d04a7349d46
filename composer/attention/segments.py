"""Segments: the consecutive pieces of a packed sequence, each of which attends to itself only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate, groupby
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .sending import to_device

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
        device: The device of the indices.

    Attributes:
        groups: (1 + groups, 2) int64 on the CPU. The first row says whether the groups have the tokens in the
            order of the sequence, and how many tokens there are; the others say, for each group, the length
            and the number of its pieces.
        order: (tokens,) int64 on the device: the tokens in the order of the groups.
        inverse: (tokens,) int64 on the device: the permutation back.
        cu_seqlens: (pieces + 1,) int32 on the device: the first token of each piece, and the end.
        max_length: Length of the longest piece.
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
        self.order = to_device(order, device)
        self.inverse = to_device(order.argsort(), device)
        self.cu_seqlens = to_device(torch.tensor(starts, dtype=torch.int32), device)
        self.max_length = max(lengths)

    @cached_property
    def block_mask(self) -> BlockMask:
        """flex_attention's mask of the segments, on the device; made on first use."""
        from ..attention.block_mask import segment_block_mask

        return segment_block_mask(self.cu_seqlens, len(self.order))
