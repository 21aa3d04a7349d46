"""Segments and the groups in which attention runs over them, against their definition."""

from __future__ import annotations

from itertools import groupby

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_composer.attention.segments import Segments


@given(st.lists(st.integers(1, 6), min_size=1, max_size=9))
def test_segments_are_one_group_per_length(lengths: list[int]) -> None:
    segments = Segments(lengths)
    (in_order, total), *groups = segments.groups.tolist()
    assert total == sum(lengths)
    assert [length for length, _ in groups] == list(dict.fromkeys(lengths))
    assert [pieces for _, pieces in groups] == [lengths.count(length) for length, _ in groups]
    assert segments.cu_seqlens.diff().tolist() == lengths
    assert segments.max_length == max(lengths)
    tokens = torch.arange(sum(lengths))
    owner = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    sizes = torch.tensor(lengths)[owner[segments.order]].tolist()
    assert sizes == [length for length, pieces in groups for _ in range(length * pieces)]
    assert torch.equal(segments.order[segments.inverse], tokens)
    assert in_order == torch.equal(segments.order, tokens)


@given(st.lists(st.sampled_from([1, 7, 256, 300]), min_size=1, max_size=9))
@settings(max_examples=60, deadline=None)
def test_tokens_are_moved_only_for_groups_of_few(lengths: list[int]) -> None:
    segments = Segments(lengths)
    (in_order, _), *groups = segments.groups.tolist()
    runs = [(length, len(list(run))) for length, run in groupby(lengths)]
    if sum(lengths) >= 256 * len(runs):
        assert in_order
        assert [tuple(group) for group in groups] == runs
    else:
        assert len(groups) == len(set(lengths))


def test_the_mask_is_made_once() -> None:
    segments = Segments([3, 4])
    assert segments.block_mask is segments.block_mask
    assert segments.block_mask.seq_lengths == (7, 7)
