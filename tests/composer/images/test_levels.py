"""A table of an image processor's arithmetic: its own results, looked up wherever a pixel lies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.compiled import choose
from support.processors import preprocessor

from vision_composer.images import levels as module
from vision_composer.images.levels import Levels
from vision_composer.images.patch_order import PatchOrder

TABLE = np.arange(3 * 256, dtype=np.float32).reshape(3, 256) / 7
"""Every channel has values of its own."""
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 6), dtype=np.uint8)
WANTED = np.stack([TABLE[channel][PIXELS[:, channel]] for channel in range(3)], axis=1)


def looked_up(levels: Levels, pixels: np.ndarray[Any, Any], **inputs: torch.Tensor) -> np.ndarray[Any, Any]:
    return levels({"pixel_values": torch.from_numpy(pixels), **inputs})["pixel_values"].numpy()


@pytest.fixture(params=["at once", "one by one", "numba"])
def _pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    choose("numba" if request.param == "numba" else "Pillow", monkeypatch)
    monkeypatch.setattr(module, "_AT_ONCE", 1 if request.param == "one by one" else 1 << 17)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({}, lambda level: (level / 255 - 0.5) / 0.25),
        ({"do_normalize": False}, lambda level: level / 255),
        ({"do_rescale": False}, lambda level: (level - 0.5) / 0.25),
        ({"do_rescale": False, "do_normalize": False}, lambda level: level),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_the_table_is_the_processors_arithmetic(values: dict[str, Any], wanted: Any) -> None:
    processor = preprocessor(image_mean=[0.5] * 3, image_std=[0.25] * 3, **values).processor
    table = Levels.of(processor).table
    assert (table.shape, table.dtype) == ((3, 256), np.float32)
    np.testing.assert_allclose(table, np.tile(wanted(np.arange(256.0)), (3, 1)), rtol=1e-6, atol=1e-6)


def test_channels_have_means_of_their_own_and_a_grey_image_one() -> None:
    processor = preprocessor(image_mean=[0.1, 0.2, 0.3], image_std=[1.0] * 3).processor
    np.testing.assert_allclose(Levels.of(processor).table[:, 0], [-0.1, -0.2, -0.3], rtol=1e-6)
    grey = Levels.of(processor, num_channels=1, image_mean=[0.7], image_std=[0.5])
    assert grey.table.shape == (1, 256)
    np.testing.assert_allclose(grey.table[0, [0, 255]], [-1.4, 0.6], rtol=1e-6)


@pytest.mark.usefixtures("_pieces")
def test_images_and_rows_of_patches() -> None:
    np.testing.assert_array_equal(looked_up(Levels(TABLE), PIXELS), WANTED)
    # In rows the channels of a pixel stand together.
    rows, wanted = (array.transpose(0, 2, 3, 1).reshape(1, 5, -1) for array in (PIXELS, WANTED))
    np.testing.assert_array_equal(looked_up(Levels(TABLE), rows), wanted)


@pytest.mark.usefixtures("_pieces")
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("frames", [1, 2])
def test_patches_are_repeated_for_every_frame(last: bool, frames: int) -> None:
    order = PatchOrder(2, 1, frames, True, last, (3 * frames * 24,))
    if last:
        rows, values = (array.transpose(0, 2, 3, 1).reshape(5, -1) for array in (PIXELS, WANTED))
        wanted = np.stack([values.reshape(5, 24, 3)] * frames, axis=3)
    else:
        rows, values = PIXELS.reshape(5, -1), WANTED.reshape(5, 3, 1, 24)
        wanted = np.concatenate([values] * frames, axis=2)
    np.testing.assert_array_equal(looked_up(Levels(TABLE, order), rows), wanted.reshape(5, -1))


def test_padding_is_zero_and_not_black() -> None:
    rows = np.zeros((2, 3, 12), dtype=np.uint8)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    inputs = {"pixel_values": torch.from_numpy(rows), "pixel_attention_mask": mask}
    found = Levels(TABLE + 1)(inputs)
    assert (found["pixel_values"] != 0).all(-1).tolist() == mask.bool().tolist()
    assert (found["pixel_values"] == 0).all(-1).tolist() == (~mask.bool()).tolist()
    assert found["pixel_attention_mask"] is mask
    assert inputs["pixel_values"].dtype == torch.uint8  # what was given stays


def test_a_mask_of_pixels_is_the_towers() -> None:
    mask = torch.zeros(5, 4, 6)
    np.testing.assert_array_equal(looked_up(Levels(TABLE), PIXELS, pixel_attention_mask=mask), WANTED)
