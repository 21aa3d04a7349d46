"""An image made ready, or the reason why it cannot be, under the name that its input gave it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.pools import Reading

from vision_composer.errors import ImageError, InputError
from vision_composer.images.reading import Arrays
from vision_composer.jobs.inputs import Row
from vision_composer.jobs.preparing import Prepared, prepare


def red_of(image: Image.Image) -> Arrays:
    pixel: Any = image.getpixel((0, 0))
    return {"red": np.array(pixel[0])}


READER = Reading(red_of)


def png(red: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (3, 2), (red, 0, 0)).save(file, "PNG")
    return file.getvalue()


def test_the_file_of_a_row_is_read_unless_its_content_is_known(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(1))
    (tmp_path / "b.png").write_bytes(png(2))
    row = Row("a", "in", "file", str(tmp_path / "a.png"))
    for content, red in ((None, 1), (str(tmp_path / "b.png"), 2), (png(3), 3)):
        prepared = prepare(row, content, READER)
        assert isinstance(prepared, Prepared)
        assert (prepared.size, prepared.inputs["red"].item()) == ((3, 2), red)


def test_the_size_is_that_of_the_image_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg", exif=exif)
    prepared = prepare(Row("a", "in", "file", str(tmp_path / "a.jpg")), None, READER)
    assert isinstance(prepared, Prepared)
    assert prepared.size == (20, 30)


def test_an_error_has_the_name_of_the_row(tmp_path: Path) -> None:
    row = Row("archive.tar/a.png", "archive.tar", "file", str(tmp_path / "gone.png"))
    for content, reason in ((None, "no such file"), (b"", "the file is empty"), (b"x", "not an image")):
        error = prepare(row, content, READER)
        assert isinstance(error, ImageError)
        assert error.name == "archive.tar/a.png"
        assert reason in error.reason

    def refuse(image: Image.Image) -> Any:
        raise ImageError("image 0", "too small")

    error = prepare(row, png(1), Reading(refuse))
    assert isinstance(error, ImageError)
    assert (error.name, error.reason) == ("archive.tar/a.png", "too small")


def test_an_error_that_is_known_is_the_answer() -> None:
    known = ImageError("a", "the cell is empty")
    assert prepare(Row("a", "in", "file", "/nowhere"), known, READER) is known


def test_what_is_no_error_of_the_image_is_raised() -> None:
    def refuse(image: Image.Image) -> Any:
        raise InputError("this encoder takes 4 channels")

    with pytest.raises(InputError, match="4 channels"):
        prepare(Row("a", "in", "file", ""), png(1), Reading(refuse))
