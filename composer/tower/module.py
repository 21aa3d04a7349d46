"""The vision tower as a torch module: it runs transformers' blocks and returns what is read off them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..encoders.base import AnyFamily
from ..encoders.batch import Batch
from ..encoders.facts import Grid, VisionEncoderInfo
from .base import Features, VisionModule
from .readout import Readout

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_LAYOUTS = 4
"""How many layouts are kept. Batches of the same sizes recur. More are not worth their memory, two rows per
token: a layout of sizes that were seen before takes little time."""


def run_block(block: nn.Module, hidden_states: Tensor, **inputs: Any) -> Tensor:
    """Run one block. Compilation replaces this function by a compiled one."""
    output = block(hidden_states, **inputs)
    result: Tensor = output[0] if isinstance(output, tuple) else output
    return result


class VisionTower(VisionModule[Batch]):
    """A vision encoder of transformers, cut to what the readout needs.

    Args:
        model: transformers' module, cut to the blocks that are needed.
        family: How that module's stages run.
        info: Facts about the encoder.
        readout: What is read off the blocks.
        block_masks: Whether to make flex_attention's masks with every layout, because it runs the blocks.
    """

    def __init__(
        self,
        model: PreTrainedModel,
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
        self.run_batch: Callable[[Batch], Tensor] | None = None
        self._block_masks = block_masks

        self._layouts: OrderedDict[Hashable, Any] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        # A copy is not compiled, as with nn.Module.compile(). It makes layouts of its own, because
        # flex_attention's masks, which are functions, cannot be pickled.
        own: dict[str, Any] = {"run_block": run_block, "run_batch": None, "_layouts": OrderedDict()}
        return {**super().__getstate__(), **own}  # type: ignore[no-untyped-call]  # torch leaves it untyped

    @property
    def connector_module(self) -> None:
        """The connector behind the tower: none."""

    @property
    def tower(self) -> VisionTower:
        """The tower itself, as of a vision half."""
        return self

    @property
    def parts(self) -> dict[str, VisionTower]:
        """The tower under an empty name, as of several towers each is under its own."""
        return {"": self}

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks, in order."""
        return self.family.block_list(self.model)

    def read(self, inputs: Mapping[str, Any]) -> Batch:
        given = {name: value for name, value in inputs.items() if value is not None}
        batch: Batch = self.family.read(self.model, self.info, given)
        return batch

    def forward(self, batch: Batch) -> Features:
        """Encode a batch.

        Returns:
            Features in the dtype of the parameters, contiguous: (images, tokens, width), or one
            (tokens, width) tensor per image where the number of tokens can differ between images. With
            DeepStack levels on an axis of their own: (levels, tokens, width) per image.
        """
        parameter = next(self.parameters()).detach()
        if batch.is_empty:
            return batch.without_images(self.readout.num_tokens, self.readout.width, parameter)
        batch = batch.to(parameter.device, parameter.dtype)
        run = self.run_batch or self.features
        return batch.split(run(batch), self.readout.num_tokens)

    def features(self, batch: Batch, layout: object = None) -> Tensor:
        """Compute the features of all images of a batch that is on the device, as its ``split`` takes them.

        Args:
            batch: The images.
            layout: Their layout; made, or found among those that are kept, if None.
        """
        if layout is None:
            layout = self.layout(batch)
        reads = self.readout.reads(self.model, layout)
        states = self.family.run(self.model, batch, layout, reads, self.run_block)
        return self.readout.features(self.model, states, batch, layout, self.run_block)

    def layout(self, batch: Batch) -> Any:
        """Return the layout of a batch, if it can be one that is kept."""
        parameter = next(self.parameters())
        return self._layout(batch, parameter.device, parameter.dtype)

    def rows_of_batch(self, batch: Batch) -> list[int]:
        return self.rows_per_image(batch.grids)

    def rows_per_image(self, grids: Sequence[Grid]) -> list[int]:
        return [self.readout.num_tokens(grid) for grid in grids]

    def join(self, images: Sequence[Tensor]) -> Features:
        features: Features = self.family.join(images)
        return features

    def blank(self, multiple: int = 1) -> Batch:
        """Return a batch of one small image.

        Args:
            multiple: How many times the rows and columns of the smallest image; a tower that takes images of
                one size ignores it.
        """
        info = replace(self.info, grid_multiple=multiple * self.info.grid_multiple)
        batch: Batch = self.family.blank(info, self.device)
        return batch

    def grid_of_image(self, width: int, height: int) -> Grid:
        return self.info.grid(width, height)

    def _layout(self, batch: Batch, device: torch.device, dtype: torch.dtype) -> Any:
        if batch.layout_key is None:
            return self.family.layout(self.model, batch, device, dtype)
        key = (batch.layout_key, device, dtype)
        layout = self._layouts.pop(key, None)
        if layout is None:
            # A layout cached in inference mode must still serve training. Whatever torch's default device is,
            # a layout is computed on the CPU and then moved.
            with torch.inference_mode(False), torch.no_grad(), torch.device("cpu"):
                layout = self.family.layout(self.model, batch, device, dtype)
                if self._block_masks:
                    layout.make_block_masks()
        self._layouts[key] = layout
        while len(self._layouts) > _LAYOUTS:
            self._layouts.popitem(last=False)
        return layout
