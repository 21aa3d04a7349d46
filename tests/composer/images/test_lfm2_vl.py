"""LFM2-VL's image processor on Pillow beside torch's arithmetic; transformers' own needs torchvision."""

from __future__ import annotations

import pytest
from support.processors import ragged, settings
from support.whole_images import LEVEL, SIZES, noise, resized

from vision_composer.images.rules import rule_of


@pytest.mark.parametrize("size", [*SIZES, (320, 240), (1, 1000)], ids=str)
def test_lfm2_vl_is_within_a_grey_level_of_torchs_arithmetic(size: tuple[int, int]) -> None:
    image = noise(*size)
    made = settings("Lfm2VlImageProcessor", min_image_tokens=4, max_image_tokens=20)
    batch = ragged(made)([image])
    ((rows, columns),) = batch["spatial_shapes"].tolist()
    assert (columns * 16, rows * 16) == rule_of(made.type, made.values)(*size)
    want = (resized(image, columns * 16, rows * 16, "bilinear").float() / 255 - 0.5) / 0.5
    patches = want.reshape(3, rows, 16, columns, 16).permute(1, 3, 2, 4, 0).reshape(rows * columns, -1)
    assert batch["pixel_values"].shape == (1, max(20 * 4, rows * columns), 768)
    assert batch["pixel_attention_mask"].sum() == rows * columns
    assert (batch["pixel_values"][0, : rows * columns] - patches).abs().max() <= 2 * LEVEL
    assert not batch["pixel_values"][0, rows * columns :].any()


def test_images_of_a_batch_are_padded_to_the_most_patches() -> None:
    made = settings("Lfm2VlImageProcessor", min_image_tokens=4, max_image_tokens=20)
    small, large = noise(64, 64), noise(640, 480)
    preprocess = ragged(made)
    both, alone = preprocess([small, large]), preprocess([small])
    rows = both["pixel_attention_mask"].sum(1).tolist()
    assert rows == both["spatial_shapes"].prod(1).tolist()
    assert rows[0] < rows[1] <= both["pixel_values"].shape[1]
    assert both["pixel_values"][0, : rows[0]].equal(alone["pixel_values"][0, : rows[0]])
    assert not both["pixel_values"][0, rows[0] :].any()
