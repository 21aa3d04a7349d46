"""The layout of a packed sequence: which tokens attend to each other, and where each token is.

A family that needs more than these layouts hold has a subclass beside it. Loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self, TypeVar

from ..attention.sending import Parcel
from .facts import Grid
from .places import WindowedPatches

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

    def with_fixed_segments(self, pieces: int) -> Self:
        """Return the layout with ``pieces`` segments over frames, empty ones at the end, and bounds for the
        longest ones: as for every batch of so many tokens."""
        return replace(self, frames=self.frames.padded(pieces, self.frames.num_tokens))

    def make_block_masks(self) -> None:
        """Make flex_attention's masks now, because torch.compile cannot trace how they are made."""
        _ = self.frames.block_mask

    def __post_init__(self) -> None:
        import torch

        whole = torch.tensor([0, self.frames.num_tokens], dtype=torch.int32, device="cpu")
        object.__setattr__(self, "whole", whole)
        self.frames.make()


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
        longest_window: Patches of a window that the frame fills.
        wide_blocks: The blocks that attend to whole frames.
    """

    windows: Segments
    window_index: Tensor
    window_inverse: Tensor
    longest_window: int
    wide_blocks: frozenset[int]

    @classmethod
    def of(
        cls,
        grids: tuple[Grid, ...],
        patches: WindowedPatches,
        rope: Callable[[Tensor], tuple[Tensor, Tensor]],
        wide_blocks: Iterable[int],
        parcel: Parcel,
    ) -> Self:
        """Make the layout of patches in windows.

        Args:
            grids: Frames, rows and columns of every image.
            patches: The patches, window by window.
            rope: Returns cosines and sines, (tokens, head_size) each, of rows and columns (tokens, 2).
            wide_blocks: The blocks that attend to whole frames.
            parcel: Takes what is sent to the device.
        """
        import torch

        from ..attention.segments import Segments

        frames, windows = frame_segments(grids, parcel), Segments(patches.lengths, parcel)
        index = patches.index
        return cls(
            grids,
            frames=frames,
            rope=rope(patches.positions),
            windows=windows,
            window_index=index,
            window_inverse=torch.empty_like(index).index_copy_(
                0, index, torch.arange(index.shape[0], device=index.device)
            ),
            longest_window=patches.longest,
            wide_blocks=frozenset(wide_blocks),
        )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.windows.make()

    def with_fixed_segments(self, pieces: int) -> Self:
        windows = self.windows.padded(len(self.window_index), self.longest_window)
        return replace(super().with_fixed_segments(pieces), windows=windows)

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


def frame_segments(grids: Sequence[Grid], device: torch.device | str | Parcel) -> Segments:
    """Return the segments by which each frame of each image attends to itself; for ``device``, see there."""
    from ..attention.segments import Segments

    return Segments([h * w for t, h, w in grids for _ in range(t)], device)


def clip_segments(grids: Sequence[Grid], device: torch.device | str | Parcel) -> Segments:
    """Return the segments by which each image or clip attends to itself, with all its frames."""
    from ..attention.segments import Segments

    return Segments([t * h * w for t, h, w in grids], device)


def pairs_in_windows(grid: Grid, merge_size: int, window: int) -> int:
    """Count the pairs of patches that attend to each other in the windows of one frame."""
    pairs = merge_size**4
    for patches in grid[1:]:
        full, rest = divmod(patches // merge_size, window)
        pairs *= full * window**2 + rest**2
    return pairs


def by_square(states: Tensor, index: Tensor) -> Tensor:
    """Reorder tokens (tokens, width), or the squares of tokens of which ``index`` has one number each."""
    # Not by len(): it would fix the number of tokens where torch.export traces this.
    return states.view(index.shape[0], -1, states.shape[-1])[index].flatten(0, 1)
