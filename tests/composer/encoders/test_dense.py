"""A dense batch alone: its dtype, its device, and features in memory of their own."""

from __future__ import annotations

import pytest
import torch
from support import tiny

from vision_composer import compose
from vision_composer.encoders.dense import DenseBatch
from vision_composer.errors import InputError

HERE = torch.device("cpu")


def test_a_batch_is_cast_and_never_moved() -> None:
    batch = DenseBatch(torch.zeros(2, 3, 16, 24), 8)
    assert batch.grids == ((1, 2, 3), (1, 2, 3))
    assert batch.to(HERE, torch.bfloat16).pixels.dtype is torch.bfloat16
    with pytest.raises(InputError, match="pixel_values are on meta, but the tower is on cpu"):
        DenseBatch(batch.pixels.to("meta"), 8).to(HERE, torch.float32)


@pytest.mark.parametrize("strategy", ["class", "default", "full"])
def test_features_of_one_layer_are_contiguous(strategy: str) -> None:
    encoder = tiny.ENCODERS["clip_vision_model"]
    keys = {"schema": 1, "encoder": encoder, "select_layers": [-2], "feature_select_strategy": strategy}
    with torch.no_grad():
        assert compose(keys)(pixel_values=tiny.pixels(encoder)).is_contiguous()
