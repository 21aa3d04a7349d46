"""Images resized by compiled sums beside Pillow's own resize: equal to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from support.compiled import choose
from support.images import noise_image

from vision_composer.images import passes, resampling
from vision_composer.images.resampling import resize

FILTERS = list(Image.Resampling)[:6]  # versions of Pillow have more, which no processor of transformers names
LENGTHS = st.one_of(st.integers(1, 40), st.integers(1, 400))
IMAGES = {
    "noise": lambda width, height: noise_image(width, height),
    "grey": lambda width, height: noise_image(width, height).convert("L"),
    "black and white": lambda width, height: noise_image(width, height).convert("1").convert("RGB"),
    "white": lambda width, height: Image.new("RGB", (width, height), "white"),
}


@pytest.fixture(autouse=True)
def _numba(monkeypatch: pytest.MonkeyPatch) -> None:
    choose("numba", monkeypatch)


def by_pillow(image: Image.Image, size: tuple[int, int], resample: int) -> np.ndarray[Any, Any]:
    pixels = np.asarray(image.resize(size, resample))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def check(image: Image.Image, size: tuple[int, int], resample: int) -> None:
    pixels = resize(image, size, resample)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, by_pillow(image, size, resample))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(IMAGES)), LENGTHS, LENGTHS, LENGTHS, LENGTHS, st.sampled_from(FILTERS))
@example("noise", 300, 5, 7, 5, Image.Resampling.LANCZOS)
@example("noise", 5, 300, 5, 7, Image.Resampling.BICUBIC)
@example("noise", 90, 160, 80, 139, Image.Resampling.BICUBIC)  # Pillow 13 shrinks the height first
@example("noise", 90, 160, 80, 140, Image.Resampling.BICUBIC)  # and here the width
@example("noise", 90, 160, 95, 155, Image.Resampling.BICUBIC)
@example("noise", 9, 9, 9, 9, Image.Resampling.BOX)
def test_all_sizes_and_filters(
    kind: str, width: int, height: int, new_width: int, new_height: int, resample: Image.Resampling
) -> None:
    check(IMAGES[kind](width, height), (new_width, new_height), resample)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ((3, 400), (5, 90)),  # a strip
        ((4000, 3), (7, 3)),  # hundreds of weights for a pixel
        ((3, 4000), (3, 7)),
        ((2, 2), (1300, 1301)),
    ],
)
def test_extreme_shapes(old: tuple[int, int], new: tuple[int, int]) -> None:
    for resample in FILTERS:
        check(noise_image(*old), new, resample)


@pytest.mark.parametrize("size", [(0, 5), (5, -1)])
def test_sizes_that_pillow_refuses(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="must be > 0"):
        resize(noise_image(9, 9), size, Image.Resampling.BICUBIC)


def test_what_is_compiled_does_resize(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or all the tests above would compare Pillow with itself."""
    seen = []
    weigh_rows = passes.weigh_rows

    def weighed(rows: Any, *others: Any) -> None:
        seen.append(rows.shape)
        weigh_rows(rows, *others)

    image = noise_image(30, 20)
    resize(image, (5, 4), Image.Resampling.BICUBIC)  # the order of axes is found by trial, once
    monkeypatch.setattr(passes, "weigh_rows", weighed)
    resize(image, (5, 4), Image.Resampling.BICUBIC)
    assert seen == [(1, 30, 60), (3, 20, 5)]
    seen.clear()
    monkeypatch.setattr(resampling, "_SMALL", 601)
    resize(image, (5, 4), Image.Resampling.BICUBIC)
    assert seen == [], "a small image is left to Pillow"


@pytest.mark.parametrize("broken", [("_shrunk_in_height", "_never_vertical_first"), ("_weigh_rows",)])
def test_a_pillow_that_resizes_in_another_way_is_left_to_itself(
    broken: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in broken:
        if name == "_weigh_rows":
            monkeypatch.setattr(passes, "weigh_rows", lambda rows, first, weights, made: made.fill(7))
        else:
            monkeypatch.setattr(resampling, name, lambda old, new: old[0] > new[0])
    resampling._order.cache_clear()
    try:
        check(noise_image(90, 160), (80, 139), Image.Resampling.BICUBIC)
        assert resampling._order(passes) is None
    finally:
        resampling._order.cache_clear()
