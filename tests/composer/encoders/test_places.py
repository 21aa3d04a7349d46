"""Places of patches against their definition, and windows against transformers' own."""

from __future__ import annotations

from itertools import pairwise

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.vision_utils import get_vision_window_index

from vision_composer.attention.sending import Parcel
from vision_composer.encoders.places import AxisTables, Patches, WindowedPatches, _windows

MERGED = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=4)


@given(MERGED, st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_patches_are_in_order_of_their_squares(merged: list[tuple[int, int, int]], side: int) -> None:
    grids = [(t, h * side, w * side) for t, h, w in merged]
    patches = Patches(grids, Parcel("cpu"), side)
    want, raster, frame, start = [], [], 0, 0
    for frames, rows, columns in grids:
        for _ in range(frames):
            places = sorted(
                ((row, column) for row in range(rows) for column in range(columns)),
                key=lambda place: (place[0] // side, place[1] // side, place),
            )
            want += [(*place, frame) for place in places]
            raster += [start + row * columns + column for row, column in places]
            frame, start = frame + 1, start + rows * columns
    got = torch.cat([patches.positions, patches.frame[:, None]], dim=1)
    assert got.tolist() == [list(row) for row in want]
    assert patches.raster.tolist() == raster


@given(MERGED, st.integers(1, 3), st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_windows_are_those_of_transformers_by_size(
    merged: list[tuple[int, int, int]], merge_size: int, window: int
) -> None:
    grids = [(t, h * merge_size, w * merge_size) for t, h, w in merged]
    patches = WindowedPatches(grids, Parcel("cpu"), merge_size=merge_size, window=window)
    pieces = patches.index.split([length // merge_size**2 for length in patches.lengths])
    theirs, cu_seqlens = get_vision_window_index(torch.tensor(grids), merge_size, window * merge_size, 1)
    sizes = [size // merge_size**2 for size in torch.as_tensor(cu_seqlens).unique().diff().tolist()]
    assert sorted(map(torch.Tensor.tolist, pieces)) == sorted(map(torch.Tensor.tolist, theirs.split(sizes)))
    frames = [h * w for t, h, w in merged for _ in range(t)]
    for frame, tokens in zip(
        patches.index.split(frames), torch.arange(sum(frames)).split(frames), strict=True
    ):
        assert torch.equal(frame.sort().values, tokens)
    frame_of = torch.arange(len(frames)).repeat_interleave(torch.tensor(frames))
    for one, other in pairwise(pieces):
        assert len(one) >= len(other) or frame_of[one[0]] != frame_of[other[0]]
    positions = Patches(grids, Parcel("cpu"), merge_size).positions.view(-1, merge_size**2, 2)
    assert torch.equal(patches.positions, positions[patches.index].flatten(0, 1))


def test_the_windows_that_are_kept_of_a_size_are_small() -> None:
    grid = (1, 32, 32)  # squares of four patches, as of an image of 896 x 896 pixels in Qwen2.5-VL
    assert _windows(grid, 4).nbytes < 32 * 32 * 4  # a byte a patch; cosines and sines take 640
    assert _windows(grid, 4) is _windows(grid, 4)


def test_tables_are_read_at_the_row_and_the_column() -> None:
    grids = [(2, 1, 3), (1, 2, 1)]
    parcel = Parcel("cpu")
    patches = Patches(grids, parcel)
    tables = AxisTables(grids, lambda length: (torch.arange(length) + 10 * length,), parcel)
    (got,) = tables.of(patches)
    frame = [[10, 30], [10, 31], [10, 32]]
    assert got.tolist() == [*frame, *frame, [20, 10], [21, 10]]
