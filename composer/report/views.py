"""Where the planes lie that a tower sees of an image: side by side as tiles, or one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..encoders.facts import Grid, VisionEncoderInfo
from ..images.tiling import TilePlan


@dataclass(frozen=True)
class Piece:
    """One plane in a view.

    Attributes:
        plane: Its number among the planes of the image.
        left: Where it begins, as a part of the view's width.
        top: Where it begins, as a part of the view's height.
        width: Its width, as a part of the view's.
        height: Its height.
    """

    plane: int
    left: float = 0.0
    top: float = 0.0
    width: float = 1.0
    height: float = 1.0


@dataclass(frozen=True)
class View:
    """Planes that are drawn together.

    Attributes:
        label: What it shows; empty for the only view of an image.
        width: Its width, in any unit.
        height: Its height, in the same unit.
        pieces: Its planes, in the order in which the tower reads them.
    """

    label: str
    width: float
    height: float
    pieces: tuple[Piece, ...]

    @property
    def cut(self) -> bool:
        """Whether it is made of several tiles."""
        return len(self.pieces) > 1


def views_of(
    tiles: TilePlan,
    grids: Sequence[Grid],
    info: VisionEncoderInfo,
    resized: tuple[int, int],
    frames: int = 1,
) -> list[View]:
    """Arrange the planes of an image.

    Args:
        tiles: How it was cut.
        grids: Frames, rows and columns of patches of every tile, or of the image that is not cut.
        info: Facts about the tower.
        resized: Width and height in pixels that the tower's image processor makes of an image that is not
            cut.
        frames: Frames of a clip.
    """
    if tiles.num_tiles == 1:
        if info.one_plane:
            return _in_time(grids[0], info, frames)
        return _tower_tiles(grids[0], info, resized)
    boxes, (across, down) = tiles.boxes, tiles.canvas
    first = 1 if tiles.whole == "first" else 0
    pieces = tuple(
        Piece(first + i, left / across, top / down, (right - left) / across, (bottom - top) / down)
        for i, (left, top, right, bottom) in enumerate(boxes)
    )
    cut = View(f"{len(pieces)} tiles, {tiles.rows} down and {tiles.columns} across", across, down, pieces)
    if tiles.whole == "none":
        return [cut]
    at = 0 if tiles.whole == "first" else len(boxes)
    whole = View("The image as a whole, a tile of its own", *_size(grids[at], info), (Piece(at),))
    return [whole, cut] if tiles.whole == "first" else [cut, whole]


def _tower_tiles(grid: Grid, info: VisionEncoderInfo, resized: tuple[int, int]) -> list[View]:
    """Arrange the tiles that a tower cuts by itself, row by row."""
    width, height = resized
    side = info.image_size
    across, down = width // side, height // side
    pieces = tuple(
        Piece(i, (i % across) / across, (i // across) / down, 1 / across, 1 / down) for i in range(grid[0])
    )
    label = f"{len(pieces)} tiles, {down} down and {across} across" if len(pieces) > 1 else ""
    return [View(label, width, height, pieces)]


def _in_time(grid: Grid, info: VisionEncoderInfo, frames: int) -> list[View]:
    """Arrange the frames of a clip, of which a patch may have several; an image is the only one."""
    each, size = info.temporal_patch_size, _size(grid, info)
    views = []
    for i in range(grid[0]):
        first, last = i * each + 1, min((i + 1) * each, frames)
        label = f"Frame {first}" if first == last else f"Frames {first} to {last}; the first is shown"
        views.append(View(label if frames > 1 else "", *size, (Piece(i),)))
    return views


def _size(grid: Grid, info: VisionEncoderInfo) -> tuple[int, int]:
    return grid[2] * info.patch_size, grid[1] * info.patch_size
