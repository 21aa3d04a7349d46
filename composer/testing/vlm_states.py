"""The tower's hidden states inside a vision-language model in transformers, beside those of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ..encoder import ComposedVisionEncoder
from ..encoders.batch import Batch
from ..encoders.facts import Grid
from ..errors import ConformanceError
from ..tower.half import TiledBatch
from ..tower.module import VisionTower
from ..tower.readout import HiddenStates


class TowerStates:
    """The hidden states that a composed encoder reads, here and in the VLM.

    Args:
        encoder: The composed encoder.
        vlm: transformers' model of the whole VLM.

    Raises:
        ConformanceError: If the VLM has no module with the tower's parameters.
    """

    def __init__(self, encoder: ComposedVisionEncoder, vlm: nn.Module) -> None:
        own = encoder.tower
        self.layers = tuple(sorted(own.readout.keep))
        readout = HiddenStates(own.family, encoder.plan.encoder, own.info, layers=self.layers)
        self._encoder, self._tower = encoder, VisionTower(own.model, own.family, own.info, readout)
        self._vlm, self._theirs = vlm, modules_like(own.model, vlm)
        self._seen: dict[int, list[Tensor]] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep the hidden states of the VLM's tower when the VLM runs, of its last run.

        Of several towers that are alike, as for images and for clips, those of the one that runs.
        """
        towers = [self._encoder.family.block_list(tower) for tower in self._theirs]

        def begin(module: Any, args: Any) -> None:
            self._seen = {layer: [] for layer in self.layers}

        def keep_input(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._seen[0].append(args[0] if args else next(iter(kwargs.values())))

        def keeper(layer: int) -> Any:
            def keep(module: Any, args: Any, output: Any) -> None:
                self._seen[layer].append(output[0] if isinstance(output, tuple) else output)

            return keep

        handles: list[RemovableHandle] = [self._vlm.register_forward_pre_hook(begin)]
        handles += [
            blocks[layer - 1].register_forward_hook(keeper(layer))
            for blocks in towers
            for layer in self.layers
            if layer
        ]
        if 0 in self.layers:
            handles += [
                blocks[0].register_forward_pre_hook(keep_input, with_kwargs=True) for blocks in towers
            ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def pairs(self, inputs: Mapping[str, Tensor]) -> dict[int, tuple[Tensor, Tensor]]:
        """Return every hidden state of the image that was watched, ours and the VLM's, (tokens, width) each.

        They differ in shape if the two towers ran on other numbers of tokens.

        Args:
            inputs: What our preprocessing made of the image.
        """
        read = self._encoder.vision.read(inputs)
        batch = read.tiles if isinstance(read, TiledBatch) else read
        with torch.no_grad():
            features = self._tower(batch)
            ours = torch.cat([tile.flatten(0, -2) for tile in features]).chunk(len(self.layers), dim=-1)
            theirs = [self._tokens(layer, batch, inputs) for layer in self.layers]
        return dict(zip(self.layers, zip(ours, theirs, strict=True), strict=True))

    def _tokens(self, layer: int, batch: Batch, inputs: Mapping[str, Tensor]) -> Tensor:
        """Return a state of the VLM's tower as ours come: in their order, and without padding."""
        family, model = self._encoder.family, self._tower.model
        placed = batch.to(self._tower.device, self._tower.dtype)
        layout = family.layout(model, placed, self._tower.device, self._tower.dtype)
        hidden_states, _ = family.embed(model, placed, layout)
        states = self._seen[layer]
        if sum(state.shape[:-1].numel() for state in states) != hidden_states.shape[:-1].numel():
            side = self._tower.info.patch_size
            padded = [length // side for length in inputs["pixel_values"].shape[-2:]]
            states = _unpadded(states, batch.grids, (padded[0], padded[1]))
        rows = torch.cat([state.flatten(0, -2) for state in states]) if states else hidden_states[:0]
        if rows.numel() != hidden_states.numel():  # of other pixels: no state to compare with
            return rows
        tokens = family.reference_tokens(model, rows.view(hidden_states.shape), layout)
        tiles = batch.split(tokens, self._tower.readout.num_tokens)
        return torch.cat([tile.flatten(0, -2) for tile in tiles])


def _unpadded(states: Sequence[Tensor], grids: Sequence[Grid], padded: tuple[int, int]) -> list[Tensor]:
    """Return the tokens of every tile, whose grid was padded at the bottom and the right, or as a sequence.

    Args:
        states: (tiles, tokens, width) each.
        grids: The tiles' own grids.
        padded: Rows and columns of the padded grid, where that is what was padded.
    """
    tiles = []
    for tile, grid in zip([tile for state in states for tile in state], grids, strict=False):
        _, rows, columns = grid
        if len(tile) == padded[0] * padded[1]:
            tile = tile.unflatten(0, padded)[:rows, :columns].flatten(0, 1)
        tiles.append(tile[: prod(grid)])
    return tiles


def modules_like(own: nn.Module, whole: nn.Module) -> list[nn.Module]:
    """Return the parts of a model that have the parameters of another module, under the same names.

    Raises:
        ConformanceError: If there are none.
    """
    names = {name: parameter.shape for name, parameter in own.named_parameters()}
    theirs = {name: parameter.shape for name, parameter in whole.named_parameters()}
    first = next(iter(names))
    prefixes = [
        name.removesuffix(first)
        for name in theirs
        if f".{name}".endswith(f".{first}")
        and all(theirs.get(name.removesuffix(first) + other) == shape for other, shape in names.items())
    ]
    if not prefixes:
        raise ConformanceError(
            f"{type(whole).__name__} has no module with the parameters of {type(own).__name__}"
        )
    return [whole.get_submodule(prefix.removesuffix(".")) for prefix in prefixes]
