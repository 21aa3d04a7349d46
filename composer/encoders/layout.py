"""How images lie in a packed sequence: which tokens attend to each other, and where each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, groupby
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

Grid = tuple[int, int, int]
"""Frames, patch rows and patch columns of an image or clip."""

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


@dataclass(frozen=True, eq=False)
class Layout:
    """Everything about a batch that follows from its grids; made once per tuple of grids.

    Attributes:
        grids: Frames, rows and columns of every image, in order.
        frames: Attention over whole frames, or whole clips where the family's blocks see them.
        rope: Cosines and sines of the rope, (tokens, head_size) each, in the order of the blocks' tokens;
            None for an encoder without.
        windows: Attention inside windows; None for an encoder without.
        window_index: Merged token of the input at each place of the blocks' sequence; None: as they come.
        window_inverse: The way back.
        wide_blocks: Blocks that attend to whole frames where others attend inside windows.
        position_taps: Rows of a position table to interpolate between, if there is one, and their weights,
            (tokens, taps) each.
        frame_index: Each token's row in a table of frames, if there is one.
        pooling: Where the merger puts each token, and the weight it has there, if it pools; (tokens,) each.
        positions: What else the family's stem needs to look its position table up.
    """

    grids: tuple[Grid, ...]
    frames: Segments
    rope: tuple[Tensor, Tensor] | None = None
    windows: Segments | None = None
    window_index: Tensor | None = None
    window_inverse: Tensor | None = None
    wide_blocks: frozenset[int] = frozenset()
    position_taps: tuple[Tensor, Tensor] | None = None
    frame_index: Tensor | None = None
    pooling: tuple[Tensor, Tensor] | None = None
    positions: tuple[Tensor, ...] = ()
    whole: Tensor = field(init=False)
    """[0, tokens], int32 on the CPU: what a block of transformers is given for a single segment, so that
    it calls attention once and reads nothing back from the device."""

    def __post_init__(self) -> None:
        tokens = sum(t * h * w for t, h, w in self.grids)
        object.__setattr__(self, "whole", torch.tensor([0, tokens], dtype=torch.int32))


def frame_segments(grids: Sequence[Grid], device: torch.device | str) -> Segments:
    """Each frame of each image attends to itself."""
    return Segments([h * w for t, h, w in grids for _ in range(t)], device)


def clip_segments(grids: Sequence[Grid], device: torch.device | str) -> Segments:
    """Each image or clip attends to itself, all its frames together."""
    return Segments([t * h * w for t, h, w in grids], device)


def patch_positions(grids: Sequence[Grid], merge_size: int = 1) -> Tensor:
    """Row and column of every patch, (tokens, 2), frame after frame.

    Patches stand in raster order with ``merge_size`` 1, otherwise by squares of that side: squares in
    raster order, and patches in raster order inside each.
    """
    parts = []
    for frames, rows, columns in grids:
        place = torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij"), dim=-1)
        squares = place.view(rows // merge_size, merge_size, columns // merge_size, merge_size, 2)
        parts.append(squares.transpose(1, 2).reshape(-1, 2).repeat(frames, 1))
    return torch.cat(parts)


def window_order(grids: Sequence[Grid], merge_size: int, window: int) -> tuple[Tensor, list[int]]:
    """Merged tokens sorted into windows of ``window`` x ``window``, and the patches in each window.

    A window at the lower or right edge is as small as what is left for it. In each frame windows of one size
    follow each other, so that attention takes them together without moving a token.
    """
    index: list[Tensor] = []
    lengths: list[int] = []
    start = 0
    for frames, rows, columns in grids:
        height, width = rows // merge_size, columns // merge_size
        tokens = torch.arange(start, start + frames * height * width).view(frames, height, width)
        for frame in tokens:
            windows = [piece.flatten() for band in frame.split(window, 0) for piece in band.split(window, 1)]
            windows.sort(key=len, reverse=True)
            index += windows
            lengths += [len(piece) * merge_size**2 for piece in windows]
        start += frames * height * width
    return torch.cat(index), lengths


def table_taps(
    grids: Sequence[Grid], merge_size: int, side: int, *, cubic: bool = False
) -> tuple[Tensor, Tensor]:
    """Rows of a ``side`` x ``side`` position table around every patch, and their weights.

    Args:
        grids: Frames, rows and columns of every image.
        merge_size: Side of the squares by which patches stand; 1 for raster order.
        side: Rows and columns of the table.
        cubic: Bicubic, with the table's edges on the image's edges, instead of bilinear, with the table's
            corners on the corner patches. Both as torch.nn.functional.interpolate has them.

    Returns:
        (tokens, 4) int64 and float32; (tokens, 16) if cubic.
    """
    places = patch_positions(grids, merge_size).float()
    sizes = torch.cat([torch.tensor([[h, w]]).expand(t * h * w, 2) for t, h, w in grids])
    if cubic:
        at = (places + 0.5) * side / sizes - 0.5
        offsets = torch.arange(-1, 3)
    else:
        at = places * (side - 1) / (sizes - 1).clamp(min=1)
        offsets = torch.arange(2)
    low = at.floor()
    distances = (at[..., None] - low[..., None] - offsets).abs()  # (tokens, axis, tap)
    weights = _cubic_weights(distances) if cubic else (1 - distances).clamp(min=0)
    taps = (low.long()[..., None] + offsets).clamp(0, side - 1)
    rows = taps[:, 0, :, None] * side + taps[:, 1, None, :]
    return rows.flatten(1), (weights[:, 0, :, None] * weights[:, 1, None, :]).flatten(1)


def _cubic_weights(distances: Tensor) -> Tensor:
    """Keys' convolution kernel with a = -0.75, as torch's bicubic interpolation has it."""
    a = -0.75
    near = ((a + 2) * distances - (a + 3)) * distances * distances + 1
    far = ((a * distances - 5 * a) * distances + 8 * a) * distances - 4 * a
    return torch.where(distances <= 1, near, far)


def rope_frequencies(size: int, base: float) -> Tensor:
    """``size`` / 2 rope frequencies over ``size`` features, float32."""
    return 1.0 / (base ** (torch.arange(0, size, 2, dtype=torch.float) / size))


def cosines_and_sines(angles: Tensor) -> tuple[Tensor, Tensor]:
    """(tokens, size / 2) angles -> cosines and sines, (tokens, size), for a rope that rotates halves."""
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()
