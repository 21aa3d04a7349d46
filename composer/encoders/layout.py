"""How images lie in a packed sequence: which tokens attend to each other, and where each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..attention.segments import Segments
from .facts import Grid


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

    def make_block_masks(self) -> None:
        """Make flex_attention's masks, which torch.compile cannot trace the making of."""
        for segments in (self.frames, self.windows):
            if segments is not None:
                _ = segments.block_mask

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
