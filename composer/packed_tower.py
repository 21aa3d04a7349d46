"""The composed tower of a native-resolution encoder: images of any size in one sequence."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from .encoder import ComposedVisionEncoder

if TYPE_CHECKING:
    from .encoders import VisionEncoderInfo
    from .encoders.layout import Grid, Layout
    from .encoders.packed import PackedFamily

_LAYOUTS = 16
"""Layouts kept: batches of one set of sizes come again and again, and each holds two rows per token."""


class PackedVisionEncoder(ComposedVisionEncoder):
    """A vision encoder that takes images of different sizes together and returns them apart.

    Args:
        model: transformers' module, cut to the blocks that are needed.
        family: Where that module's stages are.
        info: The encoder's facts.
        select_layers: Hidden states to return, 0 to N, concatenated in this order.
        norm_layers: Those of them that go through the post-norm.
        head: Return the pooling head's one token instead.
        merge: Return the tower's own, merged output instead.
        deepstack_layers: Hidden states whose mergers' output joins it, ascending.
        deepstack: How: on the feature axis behind it, or ``separate`` on an axis in front.
    """

    family: PackedFamily

    def __init__(
        self,
        model: nn.Module,
        family: PackedFamily,
        info: VisionEncoderInfo,
        *,
        select_layers: Sequence[int],
        norm_layers: frozenset[int] = frozenset(),
        head: bool = False,
        merge: bool = False,
        deepstack_layers: Sequence[int] = (),
        deepstack: Literal["concat", "separate", "none"] = "concat",
    ) -> None:
        super().__init__(model, family, info, select_layers=select_layers, norm_layers=norm_layers, head=head)
        self.merge = merge
        self.deepstack_layers = tuple(deepstack_layers)
        self.deepstack = deepstack
        self._layouts: OrderedDict[Any, Layout] = OrderedDict()

    def forward(self, **inputs: Any) -> tuple[Tensor, ...]:  # type: ignore[override]  # takes a family's own inputs
        """Encode a batch.

        Args:
            **inputs: What the family's image processor returns, by the same names; see ``read`` of the
                family. Pixels are cast to the parameters' dtype.

        Returns:
            One tensor per image or clip, in input order, (tokens, width) in the parameters' dtype,
            contiguous: merged tokens in raster order, or with ``select_layers`` the patches in the order of
            the input (Pixtral: raster order; Qwen: by squares that are merged, see ``QwenVL``). With
            ``deepstack: separate`` (1 + levels, tokens, width), the main features first and then the levels
            from the shallowest to the deepest. With ``head`` one token each.

        Raises:
            InputError: Anything that the encoder cannot take.
        """
        pixels, grids = self.family.read(self.info, inputs)
        if not grids:
            return ()
        pixels = pixels.to(self.device, self.dtype)
        features = self._output(pixels, self._layout(grids))
        return tuple(part.contiguous() for part in torch.split(features, self.rows_per_image(grids), dim=-2))

    def image_grids(self, inputs: Mapping[str, Any]) -> tuple[Grid, ...]:
        return self.family.read(self.info, inputs)[1]

    def rows_per_image(self, grids: Sequence[Grid]) -> list[int]:
        """Tokens of every image."""
        if self.uses_head:
            return [1] * len(grids)
        return [self.info.num_merged_tokens(grid) if self.merge else prod(grid) for grid in grids]

    def _output(self, pixels: Tensor, layout: Layout) -> Tensor:
        states, levels = self._run(pixels, layout)
        if self.norm_layers:
            norm = self.model.get_submodule(self.family.post_norm)
            states |= {k: norm(states[k]) for k in self.norm_layers}
        if self.uses_head:
            return self.family.pooled(self.model, states[self.select_layers[0]], layout)
        if not self.merge:
            selected = [self.family.tokens(states[k], layout) for k in self.select_layers]
            return torch.cat(selected, dim=-1)
        main = self.family.merged(self.model, states[self.select_layers[0]], layout)
        if not levels:
            return main
        return (
            torch.stack([main, *levels]) if self.deepstack == "separate" else torch.cat([main, *levels], -1)
        )

    def _run(self, pixels: Tensor, layout: Layout) -> tuple[dict[int, Tensor], list[Tensor]]:
        """The selected hidden states in the blocks' order of tokens, and the merged DeepStack levels."""
        keep = frozenset(self.select_layers)
        hidden_states = self.family.embed(self.model, pixels, layout)
        states = {0: hidden_states} if 0 in keep else {}
        levels: list[Tensor] = []
        for k, block in enumerate(self.blocks, start=1):
            hidden_states = self.run_block(block, hidden_states, **self.family.block_inputs(k - 1, layout))
            if k in keep:
                states[k] = hidden_states
            if k in self.deepstack_layers:
                levels.append(self.family.merged_level(self.model, k, hidden_states))
        return states, levels

    def _make_block_masks(self, layout: Layout) -> None:
        """Make flex_attention's masks if it runs the blocks: torch.compile cannot trace their making."""
        attention = getattr(self, "attention", None)  # set by compose
        if attention is not None and attention.implementation == "flex_attention":
            for segments in filter(None, (layout.frames, layout.windows)):
                _ = segments.block_mask

    def _layout(self, grids: tuple[Grid, ...]) -> Layout:
        key = (grids, self.device, self.dtype)
        if key in self._layouts:
            self._layouts.move_to_end(key)
            return self._layouts[key]
        # What is cached in inference mode must still be good for training.
        with torch.inference_mode(False), torch.no_grad():
            layout = self.family.layout(self.model, grids, self.device, self.dtype)
            self._make_block_masks(layout)
        self._layouts[key] = layout
        if len(self._layouts) > _LAYOUTS:
            self._layouts.popitem(last=False)
        return layout
