"""The order in which image processors lay out patches: found by what they make of an image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.processors import ragged, settings

from vision_composer.images.patch_order import PatchOrder

PLAIN = PatchOrder(2, 1, 1, squares=False, channels_last=False, row=(12,))
"""Patches of 2 x 2 pixels, row by row."""
IMAGE = np.arange(3 * 4 * 8, dtype=np.uint8).reshape(3, 4, 8)


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("Qwen2VLImageProcessor", PatchOrder(14, 2, 2, True, False, (1176,))),
        ("Ernie4_5_VLMoeImageProcessor", PatchOrder(14, 2, 1, True, False, (588,))),
        ("PaddleOCRVLImageProcessor", PatchOrder(14, 2, 1, False, False, (3, 14, 14))),
        ("Cosmos3EdgeImageProcessor", PatchOrder(16, 2, 1, True, True, (768,))),
    ],
)
def test_orders_of_transformers(name: str, order: PatchOrder) -> None:
    assert PatchOrder.of(ragged(settings(name)).processor) == order


def test_each_patch_is_a_row() -> None:
    rows = PLAIN.rows(IMAGE)
    assert rows.shape == (8, 12)
    for number, row in enumerate(rows):
        top, left = 2 * (number // 4), 2 * (number % 4)
        np.testing.assert_array_equal(row, IMAGE[:, top : top + 2, left : left + 2].reshape(-1))
    last = replace(PLAIN, channels_last=True).rows(IMAGE)
    np.testing.assert_array_equal(last.reshape(8, 4, 3), rows.reshape(8, 3, 4).transpose(0, 2, 1))


def test_patches_of_a_square_stand_together() -> None:
    rows = replace(PLAIN, merge_size=2).rows(IMAGE)
    squares = replace(PLAIN, merge_size=2, squares=True).rows(IMAGE)
    np.testing.assert_array_equal(rows, PLAIN.rows(IMAGE))
    np.testing.assert_array_equal(squares, rows[[0, 1, 4, 5, 2, 3, 6, 7]])


def test_the_rows_and_columns_of_patches_are_said() -> None:
    rows, down, across = PLAIN.patchify(IMAGE, patch_size=2, merge_size=1)
    np.testing.assert_array_equal(rows, PLAIN.rows(IMAGE))
    assert (down, across) == (2, 4)


class Ours:
    """A processor that lays patches out in an order of a test's."""

    patch_size, merge_size = 2, 2

    def __init__(self, order: PatchOrder, *, mirrored: bool = False) -> None:
        self.order = order
        self.temporal_patch_size = order.frames
        self.mirrored = mirrored

    def patchify(self, image: np.ndarray[Any, Any], **_: Any) -> tuple[np.ndarray[Any, Any], int, int]:
        rows = self.order.rows(image[:, :, ::-1] if self.mirrored else image)
        last, frames = self.order.channels_last, self.order.frames
        runs = rows.reshape(len(rows), -1, *((3, 1) if last else (1, 4)))
        found = np.repeat(runs, frames, axis=3 if last else 2).reshape(len(rows), *self.order.row)
        return found.astype(np.float32), image.shape[1] // 2, image.shape[2] // 2


@pytest.mark.parametrize("squares", [True, False])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("frames", [1, 3])
def test_every_order_is_told_from_the_others(squares: bool, last: bool, frames: int) -> None:
    order = PatchOrder(2, 2, frames, squares, last, (12 * frames,))
    assert PatchOrder.of(Ours(order)) == order
    assert PatchOrder.of(Ours(order, mirrored=True)) is None
