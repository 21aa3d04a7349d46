"""Make flex_attention's mask for the segments of a packed sequence."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

_BLOCK = 128
"""Tokens along one side of a block, flex_attention's default."""


def segment_block_mask(cu_seqlens: Tensor, tokens: int) -> BlockMask:
    """Make the mask by which each token attends to its own segment, without a (tokens, tokens) tensor.

    Args:
        cu_seqlens: (segments + 1,) int32, the first token of each segment and the end.
        tokens: The length of the sequence.
    """
    places = torch.arange(tokens, device=cu_seqlens.device, dtype=torch.int32)
    owner = torch.searchsorted(cu_seqlens, places, right=True)
    first = owner[::_BLOCK]
    last = torch.cat((owner[_BLOCK - 1 :: _BLOCK], owner[-1:]))[: len(first)]
    touches = (first[:, None] <= last) & (first <= last[:, None])
    within = (first == last) & (torch.arange(len(first), device=owner.device) < tokens // _BLOCK)
    full = touches & within[:, None] & within
    partial_counts, partial_columns = _listed(touches & ~full)
    full_counts, full_columns = _listed(full)

    def same_segment(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return owner[query] == owner[key]

    return BlockMask.from_kv_blocks(
        partial_counts,
        partial_columns,
        full_counts,
        full_columns,
        BLOCK_SIZE=_BLOCK,
        mask_mod=same_segment,
        seq_lengths=(tokens, tokens),
    )


def _listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Return how many blocks of each row are true, and each row's columns, the true ones first."""
    counts = blocks.sum(-1, dtype=torch.int32)
    columns = blocks.int().argsort(dim=-1, descending=True, stable=True).int()
    return counts[None, None], columns[None, None]
