"""flex_attention's mask of segments, against a dense one."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention.flex_attention import create_mask

from vision_composer.attention.block_mask import segment_block_mask


@pytest.mark.parametrize(
    "lengths",
    [[3, 5, 3], [4, 4], [1], [100, 200, 128, 3, 200, 1], [128, 128], [256, 5], [300, 84]],
    ids=str,
)
def test_only_blocks_of_the_segments_are_visited(lengths: list[int]) -> None:
    tokens = sum(lengths)
    ends = torch.tensor([0, *lengths]).cumsum(0).int()
    mask = segment_block_mask(ends, tokens)
    owner = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    dense = owner[:, None] == owner[None, :]
    assert torch.equal(create_mask(mask.mask_mod, None, None, tokens, tokens, device="cpu")[0, 0], dense)
    side = -(-tokens // 128) * 128
    padded = torch.zeros(side, side, dtype=torch.bool)
    padded[:tokens, :tokens] = dense
    blocks = padded.view(side // 128, 128, side // 128, 128).transpose(1, 2).flatten(2)
    partial, full = (
        listed(counts[0, 0], columns[0, 0])
        for counts, columns in (
            (mask.kv_num_blocks, mask.kv_indices),
            (mask.full_kv_num_blocks, mask.full_kv_indices),
        )
    )
    assert torch.equal(full, blocks.all(-1))
    assert torch.equal(partial, blocks.any(-1) & ~full)  # one in both lists would count twice


def listed(counts: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """The blocks that a mask lists, row by row, as (rows, columns) of whether they are."""
    blocks = torch.zeros(columns.shape, dtype=torch.bool)
    for row, count in enumerate(counts.tolist()):
        blocks[row, columns[row, :count].long()] = True
    return blocks
