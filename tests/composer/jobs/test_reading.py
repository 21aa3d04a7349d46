"""Reading ahead: in order, as far as it is asked for, and one broken image takes nothing else down."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.images import noise_image
from support.processors import CROPPED, dense, preprocessor, settings

from vision_composer.errors import ImageError, InputError
from vision_composer.jobs.reading import iter_inputs


def test_a_broken_image_takes_nothing_else_down(tmp_path: Path) -> None:
    images: list[Any] = []
    for i in range(40):
        path = tmp_path / f"{i:02d}.png"
        if i % 7 == 3:
            path.write_bytes(b"broken")
        else:
            Image.new("RGB", (9, 9), (i, i, i)).save(path)
        images.append(path if i % 2 else str(path))
    images += [noise_image(9, 9), np.zeros((9, 9), np.uint16)]
    preprocess = preprocessor(do_normalize=False)
    rows = list(iter_inputs(images, preprocess))
    assert [index for index, _, _ in rows] == list(range(42))
    assert [name for _, name, _ in rows] == [*map(str, images[:40]), "image 40", "image 41"]
    for index, name, result in rows:
        if (index % 7 == 3 and index < 40) or index == 41:
            assert isinstance(result, ImageError)
            assert result.name == name
        elif index < 40:
            torch.testing.assert_close(result["pixel_values"][0], torch.full((3, 40, 40), index / 255))


def test_images_are_read_as_they_are_needed() -> None:
    asked = 0

    def endless() -> Any:
        nonlocal asked
        for _ in itertools.count():
            asked += 1
            yield noise_image(5, 5)

    rows = iter_inputs(endless(), preprocessor())
    assert [next(rows)[0] for _ in range(3)] == [0, 1, 2]
    rows.close()
    assert asked < 30


def test_other_errors_are_not_swallowed() -> None:
    with pytest.raises(InputError, match="4 channels"):
        list(
            iter_inputs([noise_image(5, 5)], dense(settings("CLIPImageProcessor", **CROPPED), num_channels=4))
        )
