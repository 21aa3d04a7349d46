"""What a reader is given, what it refuses, and that it goes to other processes."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.images import noise_image

from vision_composer.errors import ImageError, InputError
from vision_composer.images.image_steps import ImageSteps
from vision_composer.images.reading import Arrays, ImageReader
from vision_composer.images.resize import FixedSize
from vision_composer.images.steps import Steps


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("resized")


def as_it_is(image: Image.Image) -> Arrays:
    return {"pixel_values": np.array(image)}


def test_an_image_is_not_given_to_what_would_make_it_huge() -> None:
    reader = ImageReader(never, FixedSize(14_000, 14_000))
    with pytest.raises(ImageError, match="14000x14000 pixels, more than the limit"):
        reader([Image.new("RGB", (8, 8))])
    strip = Steps(shortest=224)
    with pytest.raises(ImageError, match="672000x224 pixels, more than the limit of 8,388,608"):
        ImageReader(never, strip)([Image.new("RGB", (3000, 1))])


@pytest.mark.parametrize(
    ("channels", "grey", "takes"), [(3, False, True), (1, True, True), (1, False, False)]
)
def test_channels(channels: int, grey: bool, takes: bool) -> None:
    reader = ImageReader(as_it_is, Steps(), num_channels=channels, grey=grey)
    if not takes:
        with pytest.raises(InputError, match="a tower of 1 channels takes no images"):
            reader([noise_image(8, 9)])
        return
    (read,) = reader([noise_image(8, 9)])
    assert read["pixel_values"].shape == ((9, 8) if channels == 1 else (9, 8, 3))


def test_images_are_named_by_their_path_or_number(tmp_path: Any) -> None:
    def thin(image: Image.Image) -> Arrays:
        raise InputError("too thin")

    noise_image(8, 9).save(tmp_path / "p.png")
    reader = ImageReader(thin, Steps())
    with pytest.raises(ImageError, match=r"p\.png: cannot be preprocessed: too thin"):
        reader([tmp_path / "p.png"])
    with pytest.raises(ImageError, match="image 7: cannot be preprocessed: too thin"):
        reader([noise_image(8, 9)], first=7)
    with pytest.raises(InputError, match="takes no clips"):
        reader([[noise_image(8, 9)]])


def test_it_goes_to_another_process() -> None:
    rule = FixedSize(6, 4)
    reader = ImageReader(ImageSteps(rule, 2, (3, 3), None), rule)
    again = pickle.loads(pickle.dumps(reader))
    image = noise_image(9, 11)
    (wanted,), (found,) = reader([image]), again([image])
    assert wanted["pixel_values"].shape == (1, 3, 3, 3)
    np.testing.assert_array_equal(found["pixel_values"], wanted["pixel_values"])
