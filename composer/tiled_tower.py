"""The composed tower of an encoder that sees a picture as tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .encoder import ComposedVisionEncoder
from .tower.selection import get_num_selected_vision_tokens

if TYPE_CHECKING:
    from .encoders import VisionEncoderInfo
    from .encoders.layout import Grid
    from .encoders.mllama import Mllama, Tiles


class TiledVisionEncoder(ComposedVisionEncoder):
    """A vision encoder that takes pictures as tiles and returns the tokens of each picture's tiles.

    Args:
        model: transformers' module, cut to the blocks that are needed.
        family: Where that module's stages are.
        info: The encoder's facts.
        select_layers: Hidden states to return, 0 to N, concatenated in this order.
        norm_layers: Those of them that go through the post-norm.
        feature_select_strategy: Which tokens of a tile to keep.
        inner_layers: Return the tower's own output instead, which these hidden states join.
    """

    family: Mllama

    def __init__(
        self,
        model: nn.Module,
        family: Mllama,
        info: VisionEncoderInfo,
        *,
        select_layers: Sequence[int],
        norm_layers: frozenset[int] = frozenset(),
        feature_select_strategy: str = "full",
        inner_layers: Sequence[int] = (),
    ) -> None:
        super().__init__(
            model,
            family,
            info,
            select_layers=select_layers,
            norm_layers=norm_layers,
            feature_select_strategy=feature_select_strategy,
        )
        self.inner_layers = tuple(inner_layers)

    def forward(self, **inputs: Any) -> tuple[Tensor, ...]:  # type: ignore[override]  # takes a family's own inputs
        """Encode a batch.

        Args:
            **inputs: What the family's image processor returns, by the same names: ``pixel_values``
                (batch, images, tiles, channels, height, width), floating point, cast to the parameters'
                dtype; ``aspect_ratio_ids`` (batch, images) and ``aspect_ratio_mask`` (batch, images, tiles),
                whole numbers; ``num_tiles`` is not read.

        Returns:
            One (tokens, width) tensor per image, in input order, in the parameters' dtype, contiguous: the
            tokens of its tiles, one tile after the other, without padding. An image that only pads the batch
            (id 0, or no tile in its mask) has none. What lies in the padding tiles of an image counts, as it
            does in transformers: they must be as the image processor makes them.

        Raises:
            InputError: Anything that the encoder cannot take.
        """
        tiles = self.family.read(self.model, self.info, inputs)
        if not len(tiles.pixels):
            return ()
        tiles = tiles.to(self.device, self.dtype)
        features = self._output(tiles)
        selected = self._select(features.flatten(0, 1))
        selected = selected.reshape(*tiles.valid.shape, *selected.shape[1:])
        return tuple(image[valid].flatten(0, 1) for image, valid in zip(selected, tiles.valid, strict=True))

    def image_grids(self, inputs: Mapping[str, Any]) -> tuple[Grid, ...]:
        tiles = self.family.read(self.model, self.info, inputs)
        side = self.info.patch_grid_length
        return tuple((count, side, side) for count in tiles.valid.sum(1).tolist())

    def rows_per_image(self, grids: Sequence[Grid]) -> list[int]:
        """Tokens of every image."""
        info = self.info
        tokens = get_num_selected_vision_tokens(
            info.num_prefix_tokens + info.patch_grid_length**2,
            self.feature_select_strategy,
            num_prefix_tokens=info.num_prefix_tokens,
            hidden_size=info.hidden_size,
        )
        return [tiles * tokens for tiles, _, _ in grids]

    def _output(self, tiles: Tiles) -> Tensor:
        """(images, tiles, tokens, width), padding tiles included."""
        keep = frozenset((*self.select_layers, *self.inner_layers))
        hidden_states = self.family.embed(self.model, tiles)
        mask = self.family.attention_mask(self.model, tiles, hidden_states)
        states = {0: hidden_states} if 0 in keep else {}
        for k, block in enumerate(self.blocks, start=1):
            hidden_states = self.run_block(block, hidden_states, attention_mask=mask)
            if k in keep:
                states[k] = hidden_states
        norm = self.model.get_submodule(self.family.post_norm) if self.norm_layers else None
        normed = states | {k: norm(states[k]) for k in self.norm_layers if norm is not None}
        if self.inner_layers:
            last, inner = normed[self.select_layers[0]], [states[k] for k in self.inner_layers]
            return self.family.own_output(self.model, tiles, last, inner, mask)
        return torch.cat([self.family.tokens(self.model, normed[k]) for k in self.select_layers], dim=-1)
