"""The batches that an encoder is traced with and an export is checked with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..encoders.batch import Batch
from ..errors import ExportError, InputError
from .runtime import GRIDS, PIXELS

if TYPE_CHECKING:
    from ..encoder import ComposedVisionEncoder
    from ..encoders.facts import VisionEncoderInfo

_SQUARES = (((3, 2), (2, 4)), ((2, 3), (4, 2), (3, 3)), ((5, 2),), ((2, 2), (2, 2), (1, 3), (4, 3)))
"""Images of every batch that packs them, in squares across and down."""
_STACKED = ((2, (2, 3)), (3, (4, 2)), (1, (3, 3)), (4, (2, 5)))
"""Images of every other batch; and their patches down and across, if the encoder takes any size."""


@dataclass(frozen=True)
class Case:
    """A batch.

    Attributes:
        inputs: What the encoder is called with.
        batch: The tower's batch.
        exported: What the exported encoder is called with.
    """

    inputs: dict[str, Tensor]
    batch: Batch
    exported: dict[str, Tensor]

    @property
    def name(self) -> str:
        """The batch in words: its number of images and their sizes."""
        shapes = self.exported.get(GRIDS)
        sizes = self.exported[PIXELS].shape[2:] if shapes is None else [tuple(row) for row in shapes.tolist()]
        number = len(self.batch)
        return f"{number} image{'' if number == 1 else 's'} of {', '.join(map(str, sizes))}"


def cases_of(encoder: ComposedVisionEncoder, *, any_size: bool = True) -> list[Case]:
    """Return batches of different numbers and sizes of images; the first is for tracing.

    Args:
        encoder: The encoder.
        any_size: Whether images that are stacked have other sizes than the encoder's own, if it takes them.
    """
    inputs = [_inputs(encoder, i, any_size=any_size) for i in range(len(_STACKED))]
    return [_case(encoder, each) for each in inputs]


def _case(encoder: ComposedVisionEncoder, inputs: dict[str, Tensor]) -> Case:
    batch = encoder.tower.read(inputs)
    exported = {PIXELS: batch.pixels}
    if batch.layout_key is not None:
        exported[GRIDS] = torch.tensor(batch.grids)
    return Case(inputs, batch, exported)


def _inputs(encoder: ComposedVisionEncoder, number: int, *, any_size: bool) -> dict[str, Tensor]:
    info = encoder.info
    count, (down, across) = _STACKED[number]
    side = info.patch_size * info.grid_multiple
    generator = np.random.default_rng(number)
    sizes = [(width * side, height * side) for width, height in _SQUARES[number]]
    preprocessed = encoder.preprocess([noise(generator, info, size) for size in sizes])
    if encoder.tower.read(preprocessed).layout_key is not None:
        return preprocessed
    try:
        encoder.tower.read({PIXELS: preprocessed[PIXELS]})
    except InputError as error:
        others = ", ".join(sorted(preprocessed.keys() - {PIXELS}))
        raise ExportError(f"its tower takes {others} beside {PIXELS}") from error
    one = preprocessed[PIXELS][:1]
    shape: tuple[int, ...] = (count, *one.shape[1:])
    if info.any_size and any_size:
        shape = (*shape[:2], down * info.patch_size, across * info.patch_size)
    return {PIXELS: torch.randn(shape, generator=torch.Generator().manual_seed(number)).to(encoder.device)}


def noise(generator: Any, info: VisionEncoderInfo, size: tuple[int, int]) -> Image.Image:
    """Return an image of random pixels."""
    width, height = size
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))
