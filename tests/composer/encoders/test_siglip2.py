"""Numbers of SigLIP 2 that float32 does not show."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support import tiny
from support.padded import SHAPES, Theirs, batch_of, reference

from vision_composer import compose
from vision_composer.errors import InputError

NAME = "siglip2_vision_model"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_positions_are_summed_in_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    folder = tiny.save(reference(NAME), tmp_path)
    keys = {"schema": 1, "encoder": tiny.PADDED[NAME], "select_layers": [0]}
    encoder = compose({**keys, "weights": {"source": str(folder)}}, dtype=dtype)
    batch = batch_of(NAME, SHAPES[1])
    half = type(reference(NAME)).from_pretrained(folder, dtype=dtype).eval()
    with torch.no_grad():
        got, want = encoder(**batch), Theirs(NAME, batch, half).states[0]
    # A sum in another order may fall on the other side of a rounding, here and there.
    assert float((torch.cat(got) != torch.cat(want)).double().mean()) < 0.01


def test_one_patch_more_than_there_are() -> None:
    encoder = compose({"schema": 1, "encoder": tiny.PADDED[NAME], "select_layers": [0]})
    batch = {"pixel_values": torch.zeros(1, 6, 192), "pixel_attention_mask": torch.ones(1, 6).int()}
    encoder(**batch, spatial_shapes=torch.tensor([[2, 3]]))
    with pytest.raises(InputError, match="1x7 patches, but pixel_values has 6"):
        encoder(**batch, spatial_shapes=torch.tensor([[1, 7]]))
