"""Ropes of packed towers: cosines and sines, computed on the device from positions. Loads no torch."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from ..attention.sending import Parcel
from .aliases import FromTransformers
from .facts import Grid

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def rope_base(config: FromTransformers) -> float:
    """Return the base period of the rope of a tower's config in transformers."""
    base: float = (config.rope_parameters or {}).get("rope_theta", 10000.0)
    return base


def rope_frequencies(size: int, base: float) -> Tensor:
    """Return the ``size`` / 2 rope frequencies of ``size`` features, float32."""
    import torch

    return 1.0 / (base ** (torch.arange(0, size, 2, dtype=torch.float) / size))


def side_by_side(*frequencies: Tensor) -> Tensor:
    """Return the frequencies of a head that has the features of each axis side by side.

    Args:
        frequencies: Those of each axis, (features,).

    Returns:
        (axes, features of all axes), 0 where a feature is of another axis.
    """
    import torch

    ends = list(accumulate(map(len, frequencies)))
    head = torch.zeros(len(frequencies), ends[-1], dtype=torch.float32)
    for axis, (own, end) in enumerate(zip(frequencies, ends, strict=True)):
        head[axis, end - len(own) : end] = own
    return head


def on_halves(*frequencies: Tensor) -> Tensor:
    """Return the frequencies of a head of which either half is as in :func:`side_by_side`."""
    return side_by_side(*frequencies).repeat(1, 2)


class Rope:
    """Cosines and sines of patches, each of whose features turns along one axis of the image.

    They are computed for each place along an axis and copied to the patches there, which takes less time than
    to compute them for each patch.

    Args:
        frequencies: (axes, head_size) float32 on the CPU, 0 where a feature turns along another axis.
        grids: Frames, rows and columns of every image.
        parcel: Takes the frequencies to the device.
    """

    def __init__(self, frequencies: Tensor, grids: Sequence[Grid], parcel: Parcel) -> None:
        self._frequencies = parcel.add(frequencies)
        self._num_places = 1 + max(map(max, grids))

    def at(self, places: Tensor, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """Return cosines and sines, (tokens, head_size) each.

        Args:
            places: (tokens, axes) int32, from 0 to the longest side of a grid.
            dtype: The dtype of the result; float32 if None.
        """
        import torch
        from torch.nn.functional import embedding_bag

        frequencies = self._frequencies()[:, None]
        along = torch.arange(self._num_places, dtype=torch.float32, device=places.device)
        angles = along[:, None] * frequencies  # (axes, places, head_size)
        first = torch.arange(len(frequencies), dtype=places.dtype, device=places.device) * self._num_places
        cosines, sines = (
            # A feature's one number and zeros, so that the sum is exact.
            embedding_bag(places + first, table.flatten(0, 1).to(dtype or table.dtype), mode="sum")
            for table in (angles.cos() * (frequencies != 0), angles.sin())
        )
        return cosines, sines
