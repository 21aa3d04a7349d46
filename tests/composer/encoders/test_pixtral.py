"""What a checkpoint says of Pixtral's image processor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from support import tiny

from vision_composer import compose
from vision_composer.errors import InputError

ENCODER = tiny.PACKED["pixtral"]


def test_the_box_is_as_wide_as_the_checkpoint_says(tmp_path: Path) -> None:
    folder = tiny.save(tiny.reference(ENCODER), tmp_path)
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"size": {"height": 32, "width": 64}, "patch_size": 8})
    )
    encoder = compose({"schema": 1, "encoder": ENCODER, "weights": {"source": str(folder)}})
    assert encoder.info.resize is not None
    for size, fitted in (((640, 320), (64, 32)), ((320, 640), (16, 32))):
        assert encoder.info.resize(*size) == fitted
        assert len(encoder.encode(Image.new("RGB", size))[0]) == encoder.num_tokens(*size)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((7, 16), "16x7 pixels is smaller than one patch of 8x8"),
        ((16, 7), "7x16 pixels is smaller than one patch of 8x8"),
        ((17, 24), "24x17 pixels does not fit into pixel_values of 24x16"),
        ((16, 25), "25x16 pixels does not fit into pixel_values of 24x16"),
    ],
)
def test_sizes_that_cannot_be(size: tuple[int, int], message: str) -> None:
    encoder = compose({"schema": 1, "encoder": ENCODER, "select_layers": [0]})
    with pytest.raises(InputError, match=message):
        encoder(pixel_values=torch.zeros(1, 3, 16, 24), image_sizes=torch.tensor([size]))
