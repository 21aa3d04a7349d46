"""Every hidden state of the blocks that a tower has, from one forward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..encoders.batch import Batch
from ..encoders.facts import Grid, VisionEncoderInfo
from ..tower.module import VisionTower
from ..tower.readout import HiddenStates
from .pixels import raster


@dataclass(frozen=True)
class StateTokens:
    """The tokens of one hidden state of an image, in float32.

    Attributes:
        patches: Those of the patches of every frame or tile, row by row: (rows x columns, width) each.
        others: All others, such as class tokens and registers, (tokens, width).
    """

    patches: list[npt.NDArray[Any]]
    others: npt.NDArray[Any]

    @property
    def all_patches(self) -> npt.NDArray[Any]:
        """Those of all patches, (patches, width)."""
        return np.concatenate(self.patches)


def hidden_states(tower: VisionTower, batch: Batch) -> list[StateTokens]:
    """Return hidden states 0 to the number of blocks that are built, in front of any post-norm.

    Args:
        tower: The tower.
        batch: One image: whole, as a clip, or as several tiles.
    """
    info, layers = tower.info, tuple(range(tower.readout.num_blocks + 1))
    readout = HiddenStates(tower.family, tower.readout.encoder, info, layers=layers)
    placed = batch.to(tower.device, tower.dtype)
    layout = tower.layout(placed)
    reads = {layer: _on_the_host(read) for layer, read in readout.reads(tower.model, layout).items()}
    with torch.no_grad():
        states = tower.family.run(tower.model, placed, layout, reads, tower.run_block)
    return [
        _apart([tile.numpy() for tile in batch.split(states[layer], readout.num_tokens)], batch.grids, info)
        for layer in layers
    ]


def _on_the_host(read: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda state: read(state).float().cpu()


def _apart(tiles: list[npt.NDArray[Any]], grids: tuple[Grid, ...], info: VisionEncoderInfo) -> StateTokens:
    """Part the tokens (tokens, width) of tiles, each with its grid, into patches and others."""
    first, last = info.num_prefix_tokens, info.num_suffix_tokens
    patches, others = [], []
    for tile, grid in zip(tiles, grids, strict=True):
        width = tile.shape[-1]
        sequences = tile.reshape(info.num_sequences(grid), -1, width)
        end = sequences.shape[1] - last
        patches += list(raster(sequences[:, first:end].reshape(-1, width), grid, info))
        others += [sequences[:, :first].reshape(-1, width), sequences[:, end:].reshape(-1, width)]
    return StateTokens(patches, np.concatenate(others))
