"""An image processor's arithmetic as a table: what it makes of each of the 256 values of a channel.

Processors rescale and normalise every pixel by itself, so 256 results a channel say all about it. They are
the processor's own: whatever device looks them up, the pixels are the processor's to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from .compiled import passes

if TYPE_CHECKING:
    from torch import Tensor
    from transformers.image_processing_backends import PilBackend

    from .patch_order import PatchOrder, Pixels

_AT_ONCE = 1 << 17
"""Pixels looked up at a time on a CPU, so that what lies between input and output stays in its cache."""


def arithmetic(processor: PilBackend, pixels: Pixels, values: Mapping[str, Any]) -> Pixels:
    """Rescale and normalise pixels (channels, height, width), as far as a processor's values say so."""
    if values["do_rescale"]:
        pixels = processor.rescale(pixels, values["rescale_factor"])
    if values["do_normalize"]:
        pixels = processor.normalize(pixels, values["image_mean"], values["image_std"])
    return pixels


@dataclass(frozen=True)
class Levels:
    """Looks 8-bit pixels up.

    Attributes:
        table: What becomes of each value, (channels, 256), float32.
        order: The order of pixels that a processor lays out as patches; None for images (..., channels,
            height, width), and for rows of patches in which the channels of a pixel stand together.
    """

    table: Pixels
    order: PatchOrder | None = None

    @classmethod
    def of(
        cls,
        processor: PilBackend,
        order: PatchOrder | None = None,
        num_channels: int = 3,
        **values: Any,
    ) -> Levels:
        """Have a processor compute the table.

        Args:
            processor: With its arithmetic.
            order: As the attribute.
            num_channels: Of the images that it is given.
            **values: ``image_mean`` and ``image_std``, if they are not the processor's own.
        """
        own: dict[str, Any] = {**vars(processor), **values}
        levels: Pixels = np.tile(np.arange(256, dtype=np.uint8), (num_channels, 1, 1))
        levels = arithmetic(processor, levels, own)
        return cls(np.ascontiguousarray(levels.reshape(num_channels, 256), dtype=np.float32), order)

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return inputs with ``pixel_values`` looked up, float32, on the device where they are.

        Rows of patches that a mask calls padding become zero, whatever the table has for black: a processor
        adds them behind its arithmetic.
        """
        pixels = inputs["pixel_values"]
        rows = self.order is None and pixels.ndim < 4
        found = self._looked_up(pixels, last=rows if self.order is None else self.order.channels_last)
        if rows and "pixel_attention_mask" in inputs:
            padding = (inputs["pixel_attention_mask"] == 0).unsqueeze(-1)
            found.masked_fill_(padding.to(found.device), 0.0)
        return {**inputs, "pixel_values": found}

    def _looked_up(self, pixels: Tensor, *, last: bool) -> Tensor:
        """Look pixels up; ``last``: the channels of a pixel stand together, else the pixels of a channel."""
        import torch

        channels = len(self.table)
        together = pixels.shape[-1] // channels if self.order else prod(pixels.shape[-2:])
        length = 1 if last else together
        runs = pixels.reshape(-1, channels, length)
        frames = 1 if self.order is None else self.order.frames
        found = torch.empty(len(runs), channels, frames, length, device=pixels.device)
        compiled = passes() if pixels.device.type == "cpu" else None
        if compiled is None:
            self._select(runs, found)
        else:
            compiled.look_up(runs.contiguous().numpy(), self.table, found.numpy())
        return found.view(pixels.shape if self.order is None else (len(pixels), *self.order.row))

    def _select(self, runs: Tensor, found: Tensor) -> None:
        """Write what the table has for ``runs`` to ``found``, which has an axis of frames before the last."""
        import torch

        table = torch.from_numpy(self.table.reshape(-1)).to(runs.device)
        first = torch.arange(0, table.numel(), 256, dtype=torch.int32, device=runs.device)[:, None]
        step = max(_AT_ONCE // max(runs[0].numel(), 1), 1) if runs.device.type == "cpu" else len(runs)
        for start in range(0, len(runs), step):
            index = runs[start : start + step].int().add_(first)
            if found.shape[2] == 1:
                torch.index_select(table, 0, index.view(-1), out=found[start : start + step].view(-1))
            else:
                values = table.index_select(0, index.view(-1)).view(index.shape)
                found[start : start + step] = values.unsqueeze(2)
