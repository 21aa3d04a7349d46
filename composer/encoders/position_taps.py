"""Which rows of a position table are interpolated between for each patch. Loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from ..attention.sending import Parcel
from .facts import Grid
from .places import LENGTHS, AxisTables, Patches, independent

if TYPE_CHECKING:
    from torch import Tensor

Mode = Literal["corners", "bilinear", "bicubic"]
"""How to interpolate: bilinearly with the table's corners on the corner patches, or bilinearly or bicubically
with the table's edges on the image's edges. All as in torch.nn.functional.interpolate."""


class PositionTaps:
    """The rows of a ``side`` x ``side`` position table around every patch, and their weights.

    Args:
        grids: Frames, rows and columns of every image.
        parcel: Takes what is sent to the device.
        side: Rows and columns of the table.
        mode: How to interpolate.
        stretch: What is added to an image's rows and columns for the scale of an interpolation by edges.
    """

    def __init__(
        self, grids: Sequence[Grid], parcel: Parcel, side: int, mode: Mode = "corners", stretch: float = 0.0
    ) -> None:
        self._side = side
        self._tables = AxisTables(grids, lambda length: _taps(length, side, mode, stretch), parcel)

    def at(self, patches: Patches) -> tuple[Tensor, Tensor]:
        """Return rows, int32, and weights, float32, (tokens, 4) each; (tokens, 16) if bicubic."""
        taps, weights = self._tables.of(patches)  # (tokens, axis, tap)
        rows = taps[:, 0, :, None] * self._side + taps[:, 1, None, :]
        return rows.flatten(1), (weights[:, 0, :, None] * weights[:, 1, None, :]).flatten(1)


@lru_cache(LENGTHS)
@independent
def _taps(length: int, side: int, mode: Mode, stretch: float) -> tuple[Tensor, Tensor]:
    """Return the places in the table's axis around each patch of an image's axis, and their weights.

    Returns:
        int32 and float32, (length, 2) each; (length, 4) if bicubic.
    """
    import torch

    return taps_at(torch.arange(length), torch.tensor([length]), side, mode, stretch)


def taps_at(
    places: Tensor, lengths: Tensor, side: int, mode: Mode, stretch: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Return the places in a table's axis around patches of images' axes, and their weights.

    Args:
        places: The patches' places along their axes, integers.
        lengths: The patches along these axes, integers; broadcast to ``places``.
        side: Places of the table's axis.
        mode: As for :class:`PositionTaps`.
        stretch: As for :class:`PositionTaps`.

    Returns:
        int32 and float32, (..., 2) each; (..., 4) if bicubic.
    """
    import torch

    if mode == "corners":
        at = places.float() * (side - 1) / (lengths - 1).clamp(min=1).float()
    else:
        at = (places.float() + 0.5) * side / (lengths.float() + stretch) - 0.5
    cubic = mode == "bicubic"
    offsets = torch.arange(-1, 3, device=at.device) if cubic else torch.arange(2, device=at.device)
    low = at.floor()[..., None]
    distances = (at[..., None] - low - offsets).abs()
    weights = _cubic_weights(distances) if cubic else (1 - distances).clamp(min=0)
    return (low.long() + offsets).clamp(0, side - 1).int(), weights


def _cubic_weights(distances: Tensor) -> Tensor:
    """Evaluate Keys' convolution kernel with a = -0.75, as torch's bicubic interpolation does."""
    import torch

    a = -0.75
    near = ((a + 2) * distances - (a + 3)) * distances * distances + 1
    far = ((a * distances - 5 * a) * distances + 8 * a) * distances - 4 * a
    return torch.where(distances <= 1, near, far)
