"""Orders of tokens against transformers' own."""

from __future__ import annotations

from itertools import pairwise

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.vision_utils import get_vision_window_index

from vision_composer.encoders.layout import window_order


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=4),
    st.integers(1, 3),
    st.integers(1, 4),
)
@settings(max_examples=100, deadline=None)
def test_windows_are_those_of_transformers_by_size(
    merged: list[tuple[int, int, int]], merge_size: int, window: int
) -> None:
    grids = [(t, h * merge_size, w * merge_size) for t, h, w in merged]
    index, lengths = window_order(grids, merge_size, window)
    pieces = index.split([length // merge_size**2 for length in lengths])
    theirs, cu_seqlens = get_vision_window_index(torch.tensor(grids), merge_size, window * merge_size, 1)
    sizes = [size // merge_size**2 for size in torch.as_tensor(cu_seqlens).unique().diff().tolist()]
    assert sorted(map(torch.Tensor.tolist, pieces)) == sorted(map(torch.Tensor.tolist, theirs.split(sizes)))
    frames = [h * w for t, h, w in merged for _ in range(t)]
    for frame, tokens in zip(index.split(frames), torch.arange(sum(frames)).split(frames), strict=True):
        assert torch.equal(frame.sort().values, tokens)
    frame_of = torch.arange(len(frames)).repeat_interleave(torch.tensor(frames))
    for one, other in pairwise(pieces):
        assert len(one) >= len(other) or frame_of[one[0]] != frame_of[other[0]]
