"""Which images share a forward: alike ones, as many as the limits allow, whatever order they come in."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor

from vision_composer.jobs import batches as module
from vision_composer.jobs.batches import Limits, Ready, batches, windows
from vision_composer.jobs.inputs import Row


def ready(number: int, *, patches: int = 1, width: int = 8, num_bytes: int = 1) -> Ready:
    inputs = {"pixel_values": torch.empty(1, 3, 8, width)}
    return Ready(number, Row(f"{number}", "in", "file", ""), (width, 8), inputs, patches, num_bytes)


def alike(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one["pixel_values"].shape == other["pixel_values"].shape


def cut(images: Sequence[Ready], limits: Limits) -> list[list[int]]:
    return [[image.number for image in batch] for batch in batches(images, limits, alike)]


def test_a_window_is_a_few_batches() -> None:
    images = [ready(number) for number in range(40)]
    found = list(windows(images, Limits(images=2, tokens=1)))
    assert [len(window) for window in found] == [16, 16, 8]
    assert [image for window in found for image in window] == images
    assert list(windows([], Limits(2, 1))) == []


def test_a_window_ends_when_its_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WINDOW_BYTES", 100)
    images = [ready(number, num_bytes=size) for number, size in enumerate([40, 40, 40, 40, 60, 999, 1])]
    found = list(windows(images, Limits(images=100, tokens=1)))
    assert [[image.number for image in window] for window in found] == [[0, 1, 2], [3, 4], [5], [6]]


def test_images_and_tokens_are_limited() -> None:
    same = [ready(number) for number in range(5)]
    assert cut(same, Limits(images=2, tokens=100)) == [[0, 1], [2, 3], [4]]
    sizes = [ready(number, patches=patches) for number, patches in enumerate([12, 6, 4, 4, 2])]
    # Ten are just enough for two; the first image is too large for any batch, and is one all the same.
    assert cut(sizes, Limits(images=100, tokens=10)) == [[0], [1, 2], [3, 4]]


def test_images_that_share_no_batch_come_together_with_others() -> None:
    images = [ready(number, width=8 + 8 * (number % 2)) for number in range(6)]
    assert cut(images, Limits(images=2, tokens=100)) == [[0, 2], [4], [1, 3], [5]]


def test_the_order_that_images_come_in_changes_nothing() -> None:
    images = [ready(n, patches=1 + n * 7 % 5, width=8 + 8 * (n % 3)) for n in range(50)]
    expected = cut(images, Limits(images=4, tokens=12))
    assert sorted(number for batch in expected for number in batch) == list(range(50))
    for seed in range(3):
        random.Random(seed).shuffle(images)
        assert cut(images, Limits(images=4, tokens=12)) == expected
