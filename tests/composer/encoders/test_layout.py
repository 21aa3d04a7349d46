"""What a layout costs: one copy to the device, and as many operations whatever the number of images."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import tiny
from torch.utils._python_dispatch import TorchDispatchMode

from vision_composer import compose
from vision_composer.attention import sending
from vision_composer.encoders.facts import Grid
from vision_composer.encoders.packed import PackedBatch

PACKED = tiny.PACKED | tiny.PADDED
SIZES: list[Grid] = [(1, 24 + 12 * k, 60 - 12 * k) for k in range(4)]


class Operations(TorchDispatchMode):
    """Counts the operations of torch inside."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return function(*args, **(kwargs or {}))


def layout(encoder: Any, grids: list[Grid]) -> Any:
    batch = PackedBatch(torch.empty(0), tuple(grids))
    return encoder.tower._layout(batch, torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("name", PACKED)
def test_a_layout_goes_to_the_device_in_one_copy(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = compose({"schema": 1, "encoder": PACKED[name]})
    sent: list[torch.Tensor] = []
    monkeypatch.setattr(sending, "to_device", lambda tensor, device: sent.append(tensor) or tensor)
    layout(encoder, SIZES)
    assert len(sent) == 1


@pytest.mark.parametrize("name", PACKED)
def test_a_new_batch_of_known_sizes_takes_no_more_operations_for_more_images(name: str) -> None:
    encoder = compose({"schema": 1, "encoder": PACKED[name]})
    layout(encoder, SIZES)
    counts = []
    for images in (SIZES[::-1], SIZES * 8):
        with Operations() as operations:
            layout(encoder, images)
        counts.append(operations.count)
    assert counts[0] == counts[1]
