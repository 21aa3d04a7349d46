"""The tower's hidden states inside a vision-language model in transformers, beside those of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..encoder import ComposedVisionEncoder
from ..encoders.batch import Batch
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
        self._theirs = module_like(own.model, vlm)
        self._seen: dict[int, list[Tensor]] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep the hidden states of the VLM's tower while the VLM runs."""
        self._seen = {layer: [] for layer in self.layers}
        blocks = self._encoder.family.block_list(self._theirs)

        def keep_input(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self._seen[0].append(args[0] if args else next(iter(kwargs.values())))

        def keeper(layer: int) -> Any:
            def keep(module: Any, args: Any, output: Any) -> None:
                self._seen[layer].append(output[0] if isinstance(output, tuple) else output)

            return keep

        handles = [blocks[layer - 1].register_forward_hook(keeper(layer)) for layer in self.layers if layer]
        if 0 in self.layers:
            handles.append(blocks[0].register_forward_pre_hook(keep_input, with_kwargs=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def pairs(self, inputs: Mapping[str, Tensor]) -> dict[int, tuple[Tensor, Tensor]]:
        """Return every hidden state of the image that was watched, ours and the VLM's, (tokens, width) each.

        Args:
            inputs: What our preprocessing made of the image.

        Raises:
            ConformanceError: If the VLM's tower ran on another number of tokens.
        """
        read = self._encoder.vision.read(inputs)
        batch = read.tiles if isinstance(read, TiledBatch) else read
        with torch.no_grad():
            features = self._tower(batch)
            ours = torch.cat([tile.flatten(0, -2) for tile in features]).chunk(len(self.layers), dim=-1)
            counts = [tile.shape[:-1].numel() for tile in features]
            theirs = [self._tokens(layer, batch, counts) for layer in self.layers]
        return dict(zip(self.layers, zip(ours, theirs, strict=True), strict=True))

    def _tokens(self, layer: int, batch: Batch, counts: Sequence[int]) -> Tensor:
        """Return a state of the VLM's tower as ours come: in their order, and without padding."""
        family, model = self._encoder.family, self._tower.model
        rows = _unpadded(self._seen[layer], counts)
        if len(rows) != sum(counts):
            raise ConformanceError(
                f"hidden state {layer}: the tower in transformers ran on {len(rows)} tokens, not {sum(counts)}"
            )
        placed = batch.to(self._tower.device, self._tower.dtype)
        layout = family.layout(model, placed, self._tower.device, self._tower.dtype)
        hidden_states, _ = family.embed(model, placed, layout)
        tokens = family.reference_tokens(model, rows.view(hidden_states.shape), layout)
        return tokens.flatten(0, -2)


def _unpadded(states: Sequence[Tensor], counts: Sequence[int]) -> Tensor:
    """Join what a tower was called with; tiles that are padded to one length are cut to ``counts`` tokens."""
    if sum(state.shape[:-1].numel() for state in states) == sum(counts):
        return torch.cat([state.flatten(0, -2) for state in states])
    tiles = [tile for state in states for tile in state]
    return torch.cat([tile[:count] for tile, count in zip(tiles, counts, strict=False)])


def module_like(own: nn.Module, whole: nn.Module) -> nn.Module:
    """Return the part of a model that has the parameters of another module, under the same names.

    Raises:
        ConformanceError: If there is none, or if there are several.
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
    if len(prefixes) != 1:
        raise ConformanceError(
            f"{type(whole).__name__} has {len(prefixes) or 'no'} modules with the parameters of "
            f"{type(own).__name__}"
        )
    return whole.get_submodule(prefixes[0].removesuffix("."))
