"""How many rows come out of a vision half, and how they stand, with a reduction or without.

Loads no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..connectors import AnyConnector, ImageOfTiles
from ..encoders import Grid
from ..reduce import Reduction
from .readout import Readout


@dataclass(frozen=True)
class OutputRows:
    """Counts the rows that come out for an image.

    Attributes:
        readout: What is read off the tower's blocks.
        connector: What makes the rows that the language model reads; None for the tower's tokens, tile after
            tile.
        reduction: What makes them fewer, if something does.
    """

    readout: Readout
    connector: AnyConnector | None = None
    reduction: Reduction | None = None

    def count(self, image: ImageOfTiles) -> int:
        """Count the rows of an image."""
        return (
            self.unreduced(image) if self.reduction is None else self.reduction.num_tokens(self.grid(image))
        )

    def unreduced(self, image: ImageOfTiles) -> int:
        """Count the rows of an image in front of the reduction."""
        if self.connector is not None:
            return self.connector.num_rows(image)
        return sum(map(self.readout.num_tokens, image.grid_of_each))

    def grid(self, image: ImageOfTiles) -> Grid:
        """Return frames, rows and columns of what is reduced; those of tiles, or in no grid, are one row."""
        count = self.unreduced(image)
        if image.tiles.num_tiles > 1:
            return 1, 1, count
        if self.connector is None:
            return self.readout.token_grid(image.grid)
        return self.connector.row_grid(image.grid) or (1, 1, count)

    def fault(self, *, tiled: bool) -> str:
        """Say why the rows cannot be reduced so; empty if they can.

        Args:
            tiled: Whether images are cut into tiles.
        """
        if self.reduction is None:
            return ""
        name, connector, info = self.reduction.type, self.connector, self.readout.info
        whose = "the tower" if connector is None else f"the connector {connector.type!r}"
        if self.reduction.needs_plane:
            what = f"{name} joins tokens in the plane of the image"
            if tiled:
                return f"{what}, and tiles are cut out of it; set tiling: none"
            if not (self.readout if connector is None else connector).planar:
                prefixed = connector is None and not self.readout.selection.keeps_patches
                hint = "; set feature_select_strategy: default" if prefixed else ""
                return f"{what}, where those of {whose} do not stand row by row{hint}"
        smallest = (1, info.grid_multiple, info.grid_multiple)
        if connector is not None and info.has_frames and connector.row_grid(smallest) is None:
            return f"{name} reads the frames of a clip, and the rows of {whose} do not come frame by frame"
        return ""
