"""Images read ahead: in order, no more than agreed on, and an image's error in its place."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from vision_composer.errors import ImageError, InputError
from vision_composer.images.read_ahead import read_ahead


def test_no_more_is_read_than_asked_for_and_a_little() -> None:
    read: list[int] = []
    images: list[Any] = list(range(100))
    ahead = read_ahead(images, lambda i, _: read.append(i), ahead=5)
    next(ahead)
    time.sleep(0.02)  # time enough to read all of them
    assert len(read) <= 6
    ahead.close()
    assert len(read) <= 6
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


def test_what_nobody_takes_any_more_is_not_read() -> None:
    read: list[int] = []

    def slowly(index: int, _: Any) -> None:
        time.sleep(0.001)
        read.append(index)

    images: list[Any] = list(range(200))
    ahead = read_ahead(images, slowly, ahead=150)
    next(ahead)
    ahead.close()
    assert len(read) < 100


def test_images_come_in_order_whichever_is_read_first() -> None:
    images: list[Any] = [10 * number for number in range(9)]
    second = threading.Event()

    def read(index: int, image: Any) -> tuple[int, int]:
        if index == 1:
            second.set()
        if index == 0:
            assert second.wait(10), "the second image is not read meanwhile"
        return index, image

    for ahead in (3, 100):
        second.clear()
        assert list(read_ahead(images, read, ahead=ahead)) == list(enumerate(images))
    assert list(read_ahead([], read, ahead=3)) == []


def test_an_error_of_an_image_is_in_its_place_and_others_are_raised() -> None:
    def read(index: int, image: Any) -> int:
        if index == 1:
            raise ImageError("b", "broken")
        if index == 3:
            raise InputError("a mistake")
        return index

    images: list[Any] = [None] * 5
    ahead = read_ahead(images, read, ahead=0)
    assert next(ahead) == 0
    error = next(ahead)
    assert isinstance(error, ImageError)
    assert (error.name, error.reason) == ("b", "broken")
    assert next(ahead) == 2
    with pytest.raises(InputError, match="a mistake"):
        next(ahead)
