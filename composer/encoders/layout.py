"""The layout of a packed sequence: which tokens attend to each other, and where each token is.

A family that needs more than these layouts hold has a subclass beside it. Loads no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Self, TypeVar

from ..attention.sending import to_device
from .aliases import FromTransformers
from .facts import Grid

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..attention.segments import Segments


@dataclass(frozen=True, eq=False)
class Layout:
    """Everything about a batch that follows from its grids; made once per tuple of grids.

    Attributes:
        grids: Frames, rows and columns of every image, in order.
        frames: The segments for attention over frames, or over whole clips if the family attends across them.
    """

    grids: tuple[Grid, ...]
    frames: Segments
    whole: Tensor = field(init=False)
    """[0, tokens], int32 on the CPU. transformers' blocks get it as one segment, so that they call attention
    once and read nothing back from the device."""

    def segments(self, block: int) -> Segments:
        """Return the segments by which a block, counted from 0, attends."""
        return self.frames

    def make_block_masks(self) -> None:
        """Make flex_attention's masks now, because torch.compile cannot trace how they are made."""
        _ = self.frames.block_mask

    def __post_init__(self) -> None:
        import torch

        tokens = sum(t * h * w for t, h, w in self.grids)
        object.__setattr__(self, "whole", torch.tensor([0, tokens], dtype=torch.int32))


@dataclass(frozen=True, eq=False)
class RopeLayout(Layout):
    """The layout of a family with a rope.

    Attributes:
        rope: Cosines and sines, (tokens, head_size) each, in the order of the blocks' tokens.
    """

    rope: tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class TableLayout(RopeLayout):
    """The layout of a family with a rope and a position table that is interpolated to each image.

    Attributes:
        position_taps: Rows of the table to interpolate between, and their weights, (tokens, taps) each.
    """

    position_taps: tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class WindowLayout(RopeLayout):
    """The layout of images whose patches are sorted into windows, by the squares that are merged.

    Attributes:
        windows: The segments for attention inside windows.
        window_index: The input's square at each place in the blocks' sequence, int64.
        window_inverse: The permutation back to input order.
        wide_blocks: The blocks that attend to whole frames.
    """

    windows: Segments
    window_index: Tensor
    window_inverse: Tensor
    wide_blocks: frozenset[int]

    @classmethod
    def of(
        cls,
        grids: tuple[Grid, ...],
        rope: tuple[Tensor, Tensor],
        wide_blocks: Iterable[int],
        *,
        merge_size: int,
        window: int,
    ) -> Self:
        """Sort squares of ``merge_size`` into windows of ``window`` x ``window`` squares.

        Args:
            grids: Frames, rows and columns of every image.
            rope: Cosines and sines of patches in input order, (tokens, head_size) each.
            wide_blocks: The blocks that attend to whole frames.
            merge_size: Side of a square, in patches.
            window: Side of a window, in squares.
        """
        from ..attention.segments import Segments

        device = rope[0].device
        index, lengths = window_order(grids, merge_size, window)
        index = to_device(index, device)
        cosines, sines = (by_square(table, index) for table in rope)
        return cls(
            grids,
            frames=frame_segments(grids, device),
            rope=(cosines, sines),
            windows=Segments(lengths, device),
            window_index=index,
            window_inverse=index.argsort(),
            wide_blocks=frozenset(wide_blocks),
        )

    def make_block_masks(self) -> None:
        super().make_block_masks()
        _ = self.windows.block_mask

    def segments(self, block: int) -> Segments:
        return self.frames if block in self.wide_blocks else self.windows

    def into_windows(self, patches: Tensor) -> Tensor:
        """Return patches (tokens, width) in input order in the order of the blocks' sequence."""
        return by_square(patches, self.window_index)

    def in_input_order(self, states: Tensor) -> Tensor:
        """Undo :meth:`into_windows`."""
        return by_square(states, self.window_inverse)


LayoutT = TypeVar("LayoutT", bound=Layout)
RopeLayoutT = TypeVar("RopeLayoutT", bound=RopeLayout)


def frame_segments(grids: Sequence[Grid], device: torch.device | str) -> Segments:
    """Return the segments by which each frame of each image attends to itself."""
    from ..attention.segments import Segments

    return Segments([h * w for t, h, w in grids for _ in range(t)], device)


def clip_segments(grids: Sequence[Grid], device: torch.device | str) -> Segments:
    """Return the segments by which each image or clip attends to itself, with all its frames."""
    from ..attention.segments import Segments

    return Segments([t * h * w for t, h, w in grids], device)


def patch_positions(grids: Sequence[Grid], merge_size: int = 1) -> Tensor:
    """Return row and column of every patch, (tokens, 2), frame after frame.

    With ``merge_size`` 1, patches are in raster order. Otherwise they are grouped by squares of that side:
    the squares in raster order, and the patches in raster order inside each square.
    """
    import torch

    parts = []
    for frames, rows, columns in grids:
        place = torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij"), dim=-1)
        squares = place.view(rows // merge_size, merge_size, columns // merge_size, merge_size, 2)
        parts.append(squares.transpose(1, 2).reshape(-1, 2).repeat(frames, 1))
    return torch.cat(parts)


def window_order(grids: Sequence[Grid], merge_size: int, window: int) -> tuple[Tensor, list[int]]:
    """Sort merged tokens into windows of ``window`` x ``window``.

    Windows at the lower and right edge are smaller if the frame does not fill them. In each frame, windows of
    one size follow each other, so that attention runs them together without moving a token.

    Returns:
        The merged tokens, window by window, and the number of patches in each window.
    """
    import torch

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


def pairs_in_windows(grid: Grid, merge_size: int, window: int) -> int:
    """Count the pairs of patches that attend to each other in the windows of one frame."""
    pairs = merge_size**4
    for patches in grid[1:]:
        full, rest = divmod(patches // merge_size, window)
        pairs *= full * window**2 + rest**2
    return pairs


def by_square(states: Tensor, index: Tensor) -> Tensor:
    """Reorder tokens (tokens, width), or the squares of tokens of which ``index`` has one number each."""
    square = len(states) // len(index)
    return states.view(-1, square, states.shape[-1])[index].flatten(0, 1)


def table_taps(
    grids: Sequence[Grid],
    merge_size: int,
    side: int,
    *,
    mode: Literal["corners", "bilinear", "bicubic"] = "corners",
    stretch: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return the rows of a ``side`` x ``side`` position table around every patch, and their weights.

    Args:
        grids: Frames, rows and columns of every image.
        merge_size: Side of the squares that patches are grouped by; 1 for raster order.
        side: Rows and columns of the table.
        mode: How to interpolate: bilinearly with the table's corners on the corner patches, or bilinearly or
            bicubically with the table's edges on the image's edges. All as in
            torch.nn.functional.interpolate.
        stretch: What is added to an image's rows and columns for the scale of an interpolation by edges.

    Returns:
        Rows, int64, and weights, float32, (tokens, 4) each; (tokens, 16) if bicubic.
    """
    import torch

    places = patch_positions(grids, merge_size).float()
    sizes = torch.cat([torch.tensor([[h, w]]).expand(t * h * w, 2) for t, h, w in grids]).float()
    if mode == "corners":
        at = places * (side - 1) / (sizes - 1).clamp(min=1)
    else:
        at = (places + 0.5) * side / (sizes.float() + stretch) - 0.5
    cubic = mode == "bicubic"
    offsets = torch.arange(-1, 3) if cubic else torch.arange(2)
    low = at.floor()
    distances = (at[..., None] - low[..., None] - offsets).abs()  # (tokens, axis, tap)
    weights = _cubic_weights(distances) if cubic else (1 - distances).clamp(min=0)
    taps = (low.long()[..., None] + offsets).clamp(0, side - 1)
    rows = taps[:, 0, :, None] * side + taps[:, 1, None, :]
    return rows.flatten(1), (weights[:, 0, :, None] * weights[:, 1, None, :]).flatten(1)


def _cubic_weights(distances: Tensor) -> Tensor:
    """Evaluate Keys' convolution kernel with a = -0.75, as torch's bicubic interpolation does."""
    import torch

    a = -0.75
    near = ((a + 2) * distances - (a + 3)) * distances * distances + 1
    far = ((a * distances - 5 * a) * distances + 8 * a) * distances - 4 * a
    return torch.where(distances <= 1, near, far)


def rope_base(config: FromTransformers) -> float:
    """Return the base period of the rope of a tower's config in transformers."""
    base: float = (config.rope_parameters or {}).get("rope_theta", 10000.0)
    return base


def rope_frequencies(size: int, base: float) -> Tensor:
    """Return the ``size`` / 2 rope frequencies of ``size`` features, float32."""
    import torch

    return 1.0 / (base ** (torch.arange(0, size, 2, dtype=torch.float) / size))


def cosines_and_sines(angles: Tensor) -> tuple[Tensor, Tensor]:
    """Return cosines and sines, (tokens, size), of angles, (tokens, size / 2), for a rope on halves."""
    import torch

    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def axial_rope(
    grids: Sequence[Grid], head_size: int, base: float, merge_size: int = 1
) -> tuple[Tensor, Tensor]:
    """Return cosines and sines, (tokens, head_size), of a rope whose halves turn by row and by column."""
    positions = patch_positions(grids, merge_size).float()
    frequencies = rope_frequencies(head_size // 2, base)
    return cosines_and_sines((positions[..., None] * frequencies).flatten(1))
