"""Compiled passes beside the same arithmetic in numpy."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from vision_composer.images import passes

RNG = np.random.default_rng(3)


def test_rows_are_weighed_rounded_and_clipped() -> None:
    rows = RNG.integers(0, 256, (2, 7, 5), dtype=np.uint8)
    first = np.array([0, 2, 3, 4])
    weights = RNG.integers(-(1 << 21), 1 << 22, (4, 3), dtype=np.int32)
    made = np.empty((2, 4, 5), np.uint8)
    passes.weigh_rows(rows, first, weights, made)
    for new in range(4):
        sums = np.einsum(
            "prv,r->pv", rows[:, first[new] : first[new] + 3].astype(np.int64), weights[new].astype(np.int64)
        )
        np.testing.assert_array_equal(made[:, new], np.clip(np.floor(sums / (1 << 22) + 0.5), 0, 255))
    assert {0, 255} & set(made.flat), "some sums are clipped"


@pytest.mark.parametrize("frames", [1, 3])
def test_pixels_are_looked_up_once_for_every_frame(frames: int) -> None:
    pixels = RNG.integers(0, 256, (4, 3, 5), dtype=np.uint8)
    table = RNG.random((3, 256), dtype=np.float32)
    found = np.empty((4, 3, frames, 5), np.float32)
    passes.look_up(pixels, table, found)
    wanted = np.stack([table[channel][pixels[:, channel]] for channel in range(3)], axis=1)
    np.testing.assert_array_equal(found, np.repeat(wanted[:, :, None], frames, axis=2))


@pytest.mark.parametrize(
    "error", [RuntimeError("no locator available"), OSError(28, "No space left on device"), EOFError()]
)
def test_where_nothing_can_be_kept_each_process_compiles_anew(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    njit, kept = numba.njit, []

    def without_folder(*signature: Any, cache: bool = False, **options: Any) -> Any:
        kept.append(cache)
        if cache:
            raise error
        return njit(*signature, **options)

    monkeypatch.setattr(numba, "njit", without_folder)
    dispatcher: Any = passes.look_up
    compiled = passes._compile(passes._look_up, *dispatcher.signatures[0])
    found = np.empty((1, 1, 1, 2), np.float32)
    compiled(np.array([[[3, 9]]], np.uint8), np.arange(256, dtype=np.float32)[None], found)
    assert (kept, found.ravel().tolist()) == ([True, False], [3.0, 9.0])
