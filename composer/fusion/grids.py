"""How the tokens of several towers are joined: grids, counts and widths. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

from ..encoders.facts import Grid, VisionEncoderInfo
from ..errors import InputError


class MisfitError(InputError):
    """Tokens of towers that cannot be joined.

    Attributes:
        tower: The name of the tower that does not fit.
        reason: Why it does not.
    """

    def __init__(self, tower: str, reason: str) -> None:
        self.tower, self.reason = tower, reason
        super().__init__(tower, reason)

    def __str__(self) -> str:
        return f"tower {self.tower}: {self.reason}"


@dataclass(frozen=True)
class FusedTower:
    """What one of several towers gives.

    Attributes:
        name: Its name.
        info: The encoder's facts.
        num_tokens: Counts the tokens of an image with a grid of patches.
        own_width: Features of a token.
        projected: Features of a token behind its projection; None without one.
    """

    name: str
    info: VisionEncoderInfo
    num_tokens: Callable[[Grid], int]
    own_width: int
    projected: int | None = None

    @property
    def width(self) -> int:
        """Features of a token that is joined to others."""
        return self.projected or self.own_width

    def grid_of_tokens(self, grid: Grid) -> Grid:
        """Return the frames, rows and columns that the tokens form, of an image with a grid of patches.

        Raises:
            MisfitError: If they form no grid, or do not come row by row.
        """
        count = self.num_tokens(grid)
        _, rows, columns = grid
        if count == prod(grid):
            if self.info.patch_square > 1:
                remedy = "leave select_layers out" if self.info.merges else "fuse: sequence takes them so"
                raise MisfitError(self.name, f"its hidden states come square by square; {remedy}")
            return grid
        if self.info.merges and count == self.info.num_merged_tokens(grid):
            rows, columns = rows // self.info.merge_size, columns // self.info.merge_size
            return count // (rows * columns), rows, columns
        raise MisfitError(
            self.name,
            f"gives {count} tokens for {rows}x{columns} patches, which form no grid; set "
            f"feature_select_strategy: default{', and leave head out' if count == 1 else ''}",
        )


@dataclass(frozen=True)
class Fusion:
    """How the tokens of several towers become those of one encoder.

    Attributes:
        towers: The towers, in the order of the output.
        fuse: ``channel``, ``sequence`` or ``sum``.
        grid: Rows and columns that all towers' tokens are resampled to; None if they are not.
        resample: The mode of torch.nn.functional.interpolate.
        align_corners: Its argument.
    """

    towers: tuple[FusedTower, ...]
    fuse: Literal["channel", "sequence", "sum"]
    grid: tuple[int, int] | None
    resample: str
    align_corners: bool

    @property
    def width(self) -> int:
        """Features of a token that comes out."""
        widths = [tower.width for tower in self.towers]
        return sum(widths) if self.fuse == "channel" else widths[0]

    def check_widths(self) -> None:
        """Check that the towers' tokens are as wide as they must be.

        Raises:
            MisfitError: If one tower's are not.
        """
        first, *others = self.towers
        for tower in () if self.fuse == "channel" else others:
            if tower.width != first.width:
                raise MisfitError(
                    tower.name,
                    f"gives {tower.width} features per token, and {first.name} {first.width}, which fuse: "
                    f"{self.fuse} needs to be equal; give one of them a width in project",
                )

    def aligned(self, tower: FusedTower, grid: Grid) -> Grid:
        """Return the frames, rows and columns of a tower's tokens when they are joined.

        Raises:
            MisfitError: If the tokens form no grid.
        """
        frames, rows, columns = tower.grid_of_tokens(grid)
        return frames, *(self.grid or (rows, columns))

    def num_tokens_of(self, tower: FusedTower, grid: Grid) -> int:
        """Count the tokens of a tower that are joined, of an image with a grid of patches.

        Raises:
            MisfitError: If they must form a grid and form none.
        """
        keeps_all = self.fuse == "sequence" and self.grid is None
        return tower.num_tokens(grid) if keeps_all else prod(self.aligned(tower, grid))

    def grid_of(self, grids: Sequence[Grid]) -> Grid:
        """Return the frames, rows and columns of the joined tokens of an image.

        Towers in a sequence are frames, if their grids are equal; else all tokens are one row.

        Args:
            grids: The image's grid of patches in every tower.

        Raises:
            MisfitError: If the grids cannot be joined.
        """
        pairs = list(zip(self.towers, grids, strict=True))
        if self.fuse == "sequence":
            try:
                found = {self.aligned(tower, grid) for tower, grid in pairs}
            except MisfitError:
                if self.grid is not None:
                    raise
                found = set()
            if len(found) == 1:
                frames, rows, columns = found.pop()
                return len(pairs) * frames, rows, columns
            return 1, 1, sum(self.num_tokens_of(tower, grid) for tower, grid in pairs)
        (first, of_first), *others = pairs
        joined = self.aligned(first, of_first)
        for tower, grid in others:
            own = self.aligned(tower, grid)
            if own != joined:
                raise MisfitError(
                    tower.name,
                    f"its tokens form {_text(own)}, and those of {first.name} {_text(joined)}; write "
                    "align: {grid: [rows, columns]}, or another size in image_processor",
                )
        return joined

    def num_tokens(self, grids: Sequence[Grid]) -> int:
        """Count the joined tokens of an image; arguments and errors as :meth:`grid_of`."""
        return prod(self.grid_of(grids))


def _text(grid: Grid) -> str:
    frames, rows, columns = grid
    return f"a grid of {rows}x{columns}" + (f" in {frames} frames" if frames > 1 else "")
