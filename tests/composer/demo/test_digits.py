"""The split of the digits: nothing that trains the encoder or fits a probe comes back when it is judged."""

from __future__ import annotations

import sys
from itertools import combinations

import numpy as np
import pytest

from vision_composer.demo.digits import PARTS, as_images, load_pixels
from vision_composer.errors import MissingDependencyError


@pytest.fixture(scope="module")
def digits():
    return load_pixels()


def test_parts_are_disjoint_and_cover_all_digits(digits) -> None:
    pixels, labels = digits
    rows = [set(range(len(labels))[part]) for part in PARTS.values()]
    assert set.union(*rows) == set(range(len(labels)))
    assert sum(map(len, rows)) == len(labels) == len(pixels) == 1797


@pytest.mark.parametrize(("one", "other"), list(combinations(PARTS, 2)))
def test_no_image_stands_in_two_parts(digits, one: str, other: str) -> None:
    pixels, _ = digits
    images = [{image.tobytes() for image in pixels[PARTS[part]]} for part in (one, other)]
    assert not images[0] & images[1]


@pytest.mark.parametrize("part", PARTS)
def test_every_part_has_its_ten_digits_about_equally_often(digits, part: str) -> None:
    _, labels = digits
    shares = np.bincount(labels[PARTS[part]], minlength=10) / len(labels[PARTS[part]])
    assert shares.min() > 0.09
    assert shares.max() < 0.11


def test_parts_are_cut_between_sheets(digits) -> None:
    _, labels = digits
    for part in PARTS.values():
        # Each sheet begins by counting up and ends with 0 8 9 8.
        assert (np.diff(labels[part][:9]) == 1).all()
        assert labels[part][-4:].tolist() == [0, 8, 9, 8]


def test_images_keep_the_grey_levels(digits) -> None:
    pixels, _ = digits
    assert set(np.unique(pixels)) == {round(level * 255 / 16) for level in range(17)}
    image = as_images(pixels[5:6])[0]
    assert image.mode == "RGB"
    assert image.size == (8, 8)
    for channel in np.moveaxis(np.asarray(image), -1, 0):
        assert np.array_equal(channel, pixels[5])


def test_missing_scikit_learn_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'vision-composer\[demo\]'"):
        load_pixels()
