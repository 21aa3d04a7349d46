"""What images of several sizes cost on this machine, for the balance of data-parallel runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from ..parallel import CostModel, Measurement
from .comparison import noise
from .measure import interleaved

if TYPE_CHECKING:
    from ..encoder import ComposedVisionEncoder

SIZES = ((112, 112), (224, 224), (448, 448), (448, 672), (672, 672), (896, 896))
"""Widths and heights of the images that are measured unless others are asked for."""

_MOST_IMAGES = 16
"""Most images of one forward."""


def calibrate(
    tower: ComposedVisionEncoder, sizes: Sequence[tuple[int, int]] = SIZES, *, rounds: int = 5
) -> CostModel:
    """Time images of each size, and fit the costs that ``parallel.cost_table`` reads.

    A forward has one image of the largest size, or as many smaller ones as are about as many pixels: what a
    forward costs beside its images, such as launching kernels, is no cost of an image.

    Args:
        tower: The tower as it will run: its device, dtype, attention backend and compilation.
        sizes: Widths and heights of the images, from small to as large as there will be.
        rounds: How often each is timed.

    Raises:
        InputError: If the encoder sees all images at one size, so that nothing can be fitted.
    """
    largest = max((width * height for width, height in sizes), default=0)
    batches = []
    for width, height in sizes:
        number = min(_MOST_IMAGES, largest // max(1, width * height))
        batches += [noise(tower, [(width, height)] * count) for count in dict.fromkeys((1, number))]
    runs = [partial(tower, **batch) for batch in batches]
    with tower.evaluating():
        for run in runs:
            run()
        seconds = interleaved(runs, rounds, tower.device)
    grids = [tower.image_grids(batch) for batch in batches]
    return CostModel.fit(
        tower.plan,
        [Measurement(of[0], median(times), len(of)) for of, times in zip(grids, seconds, strict=True)],
    )
