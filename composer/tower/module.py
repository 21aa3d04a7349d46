"""The tower: transformers' blocks, run one after the other, and what is read off them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..encoders.base import AnyFamily, Batch, Grid, VisionEncoderInfo
from .readout import Readout

Features = Tensor | tuple[Tensor, ...]
"""A batch (images, tokens, width), or one (tokens, width) tensor for each image."""

_LAYOUTS = 16
"""Layouts kept: batches of one set of sizes come again and again, and each holds two rows per token."""


def run_block(block: nn.Module, hidden_states: Tensor, **inputs: Any) -> Tensor:
    """Run one block; compilation puts another function in the place of this one."""
    output = block(hidden_states, **inputs)
    result: Tensor = output[0] if isinstance(output, tuple) else output
    return result


class VisionTower(nn.Module):
    """A vision encoder as transformers builds it, cut to what the readout needs.

    Args:
        model: transformers' module, cut to the blocks that are needed.
        family: Where that module's stages are.
        info: The encoder's facts.
        readout: What is read off the blocks.
        block_masks: Whether flex_attention runs the blocks, whose masks are made with every layout.
    """

    def __init__(
        self,
        model: nn.Module,
        family: AnyFamily,
        info: VisionEncoderInfo,
        readout: Readout,
        *,
        block_masks: bool = False,
    ) -> None:
        super().__init__()
        self.model = model
        self.family = family
        self.info = info
        self.readout = readout
        _ = readout.selection.select  # found once, since torch.compile cannot trace the search
        self.run_block: Callable[..., Tensor] = run_block
        self._block_masks = block_masks
        self._layouts: OrderedDict[Hashable, Any] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        # As nn.Module does with what compile() made: a copy is not compiled.
        return {**super().__getstate__(), "run_block": run_block}  # type: ignore[no-untyped-call]  # torch leaves it untyped

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks, in order."""
        return self.family.block_list(self.model)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """dtype of the parameters, and of the output."""
        return next(self.parameters()).dtype

    def read(self, inputs: Mapping[str, Any]) -> Batch:
        """Read the batch that these inputs are: what the family's image processor returns, by the same names.

        Raises:
            InputError: Anything that the encoder cannot take.
        """
        batch: Batch = self.family.read(self.model, self.info, inputs)
        return batch

    def forward(self, batch: Batch) -> Features:
        """Encode a batch.

        Returns:
            Features in the dtype of the parameters, contiguous: (images, tokens, width), or where images need
            not have as many tokens one (tokens, width) tensor for each; with DeepStack levels apart
            (levels, tokens, width).
        """
        if batch.is_empty:
            return batch.without_images(
                self.readout.num_tokens, self.readout.width, next(self.parameters()).detach()
            )
        device, dtype = self.device, self.dtype
        batch = batch.to(device, dtype)
        layout = self._layout(batch, device, dtype)
        reads = self.readout.reads(self.model, layout)
        states = self.family.run(self.model, batch, layout, reads, self.run_block)
        features = self.readout.features(self.model, states, batch, layout)
        return batch.split(features, self.readout.num_tokens)

    def rows_per_image(self, grids: Sequence[Grid]) -> list[int]:
        """Tokens of every image in the output."""
        return [self.readout.num_tokens(grid) for grid in grids]

    def join(self, images: Sequence[Tensor]) -> Features:
        """Return features of single images, at least one, as :meth:`forward` returns those of a batch."""
        features: Features = self.family.join(images)
        return features

    def _layout(self, batch: Batch, device: torch.device, dtype: torch.dtype) -> Any:
        if batch.layout_key is None:
            return self.family.layout(self.model, batch, device, dtype)
        key = (batch.layout_key, device, dtype)
        layout = self._layouts.pop(key, None)
        if layout is None:
            # What is cached in inference mode must still be good for training; and whatever device torch
            # makes tensors on by default, a layout is computed on the CPU and moved.
            with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"):
                layout = self.family.layout(self.model, batch, device, dtype)
                if self._block_masks:
                    layout.make_block_masks()
        self._layouts[key] = layout
        while len(self._layouts) > _LAYOUTS:
            self._layouts.popitem(last=False)
        return layout
