"""Where the patches of a packed batch are, computed on the device from a few numbers per image or window.

Loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache, wraps
from math import prod
from typing import TYPE_CHECKING, ParamSpec, TypeAlias, TypeVar

from ..attention.sending import Parcel
from .facts import Grid

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

Integers: TypeAlias = "NDArray[np.int64]"

_GRIDS = 8192
"""The grids whose windows are kept, 48 bytes a window. One of Qwen2.5-VL's holds 64 patches."""


LENGTHS = 4096
"""The lengths of axes whose tables are kept, some dozen bytes a patch along the axis."""

P = ParamSpec("P")
T = TypeVar("T")


def independent(function: Callable[P, T]) -> Callable[P, T]:
    """Have a function's tensors made on the CPU and fit for training, whatever mode torch is in."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        import torch

        with torch.inference_mode(False), torch.device("cpu"):
            return function(*args, **kwargs)

    return run


def send_integers(
    rows: Integers | Sequence[int] | Sequence[Sequence[int]], parcel: Parcel
) -> Callable[[], Tensor]:
    """Put integers into a parcel; they arrive as int32."""
    import numpy as np
    import torch

    return parcel.add(torch.from_numpy(np.asarray(rows, dtype=np.int32)))


class Boxes:
    """Boxes of places, one after the other, in raster order inside each.

    Args:
        sizes: Rows and columns of each, (boxes, 2).
        parcel: Takes the sizes to the device.
    """

    def __init__(self, sizes: Integers, parcel: Parcel) -> None:
        self._sizes = send_integers(sizes, parcel)
        self._num_places = int(sizes.prod(axis=1).sum())

    @cached_property
    def owner(self) -> Tensor:
        """The box of each place, (places,) int32."""
        import torch

        return torch.repeat_interleave(self._areas, output_size=self._num_places)

    @cached_property
    def positions(self) -> Tensor:
        """Row and column of each place inside its box, (places, 2) int32."""
        import torch

        places = torch.arange(self._num_places, dtype=torch.int32, device=self.starts.device)
        inside, columns = places - self.starts[self.owner], self.columns[self.owner]
        rows = inside.div(columns, rounding_mode="floor")
        return torch.stack([rows, inside - rows * columns], dim=1)

    @property
    def columns(self) -> Tensor:
        """The columns of each box, (boxes,) int32."""
        return self._sizes()[:, 1]

    @cached_property
    def starts(self) -> Tensor:
        """The first place of each box, (boxes,) int32."""
        import torch

        return self._areas.cumsum(0, dtype=torch.int32) - self._areas

    @cached_property
    def _areas(self) -> Tensor:
        import torch

        return self._sizes().prod(1, dtype=torch.int32)


class Patches:
    """The patches of a packed batch, image after image and frame after frame.

    With ``merge_size`` 1, patches are in raster order. Otherwise they are grouped by squares of that side:
    the squares in raster order, and the patches in raster order inside each square.

    Args:
        grids: Frames, rows and columns of every image.
        parcel: Takes what is sent to the device.
        merge_size: Side of a square, in patches.
    """

    def __init__(self, grids: Sequence[Grid], parcel: Parcel, merge_size: int = 1) -> None:
        import numpy as np

        sizes = np.repeat([grid[1:] for grid in grids], [grid[0] for grid in grids], axis=0)
        self._merge_size = merge_size
        self._squares = Boxes(sizes // merge_size, parcel)

    @cached_property
    def positions(self) -> Tensor:
        """Row and column of each patch, (tokens, 2) int32."""
        return patches_of_squares(self._squares.positions, self._merge_size)

    @cached_property
    def raster(self) -> Tensor:
        """The place of each patch if all frames were in raster order, (tokens,) int32."""
        square = self._merge_size**2
        starts, columns = self._squares.starts * square, self._squares.columns * self._merge_size
        rows = self.positions[:, 0] * columns[self.frame]
        return starts[self.frame] + rows + self.positions[:, 1]

    @cached_property
    def frame(self) -> Tensor:
        """The frame of each patch, counted through all images, (tokens,) int32."""
        owner, square = self._squares.owner, self._merge_size**2
        return owner if square == 1 else owner[:, None].expand(-1, square).flatten()


class WindowedPatches:
    """The patches of a packed batch, by windows of ``window`` x ``window`` squares.

    Windows at the lower and right edge are smaller if the frame does not fill them. In each frame, windows of
    one size follow each other, so that attention runs them together without moving a token.

    Args:
        grids: Frames, rows and columns of every image.
        parcel: Takes what is sent to the device.
        merge_size: Side of a square, in patches.
        window: Side of a window, in squares.

    Attributes:
        lengths: Patches of each window.
        longest: Patches of a window that the frame fills.
    """

    def __init__(self, grids: Sequence[Grid], parcel: Parcel, *, merge_size: int, window: int) -> None:
        import numpy as np

        pieces = [_windows((t, h // merge_size, w // merge_size), window) for t, h, w in grids]
        windows = np.concatenate(pieces)
        squares = np.array([prod(grid) // merge_size**2 for grid in grids])
        windows[:, 5] += np.repeat(squares.cumsum() - squares, [len(piece) for piece in pieces])
        lengths: list[int] = (windows[:, :2].prod(axis=1) * merge_size**2).tolist()
        self.lengths = lengths
        self.longest = (window * merge_size) ** 2
        self._merge_size = merge_size
        self._boxes = Boxes(windows[:, :2], parcel)
        self._places = send_integers(windows[:, 2:], parcel)

    @cached_property
    def positions(self) -> Tensor:
        """Row and column of each patch inside its frame, in the order of the windows, (tokens, 2) int32."""
        squares = self._boxes.positions + self._places()[:, :2][self._boxes.owner]
        return patches_of_squares(squares, self._merge_size)

    @cached_property
    def index(self) -> Tensor:
        """The input's square at each place in the order of the windows, (squares,) int64."""
        columns, starts = self._places()[:, 2:][self._boxes.owner].unbind(1)
        row, column = self._boxes.positions.unbind(1)
        return (starts + row * columns + column).long()


@lru_cache(_GRIDS)
def _windows(squares: Grid, window: int) -> Integers:
    """Return the windows of an image of so many frames, rows and columns of squares, the larger ones first.

    Each is rows and columns; the row and column where it begins; its frame's columns; and the place of its
    first square in the sequence of the image's squares.
    """
    import numpy as np

    frames, rows, columns = squares
    top, left = (grid.ravel() for grid in np.mgrid[0:rows:window, 0:columns:window])
    height, width = np.minimum(rows - top, window), np.minimum(columns - left, window)
    frame = np.stack([height, width, top, left, np.full_like(top, columns), top * columns + left], axis=1)
    frame = frame[np.argsort(-height * width, kind="stable")]
    windows = np.tile(frame, (frames, 1))
    windows[:, 5] += np.repeat(np.arange(frames) * rows * columns, len(frame))
    return windows


def patches_of_squares(squares: Tensor, side: int) -> Tensor:
    """Return row and column of the patches of squares, (squares x side², 2), from those of the squares."""
    import torch

    if side == 1:
        return squares
    inside = torch.arange(side, dtype=squares.dtype, device=squares.device)
    offsets = torch.stack([inside.repeat_interleave(side), inside.repeat(side)], dim=1)
    return (squares[:, None] * side + offsets).flatten(0, 1)


class AxisTables:
    """A table with a row for each place along an axis, for every length of an axis in a batch.

    Args:
        grids: Frames, rows and columns of every image.
        tables: Makes the tables of an axis of a length, (length, ...) int32 or float32 each.
        parcel: Takes them to the device.
    """

    def __init__(
        self, grids: Sequence[Grid], tables: Callable[[int], tuple[Tensor, ...]], parcel: Parcel
    ) -> None:
        import numpy as np
        import torch

        lengths = sorted({length for _, *axes in grids for length in axes})
        starts = dict(zip(lengths, np.append(0, np.cumsum(lengths)).tolist(), strict=False))
        of_frames = [(starts[h], starts[w]) for t, h, w in grids for _ in range(t)]
        self._starts = send_integers(of_frames, parcel)
        parts = zip(*map(tables, lengths), strict=True)
        self._tables = [parcel.add(torch.cat(part)) for part in parts]

    def of(self, patches: Patches) -> list[Tensor]:
        """Return what the tables have for every patch's row and for its column, (tokens, 2, ...) each."""
        places = patches.positions + self._starts()[patches.frame]
        return [table()[places] for table in self._tables]
