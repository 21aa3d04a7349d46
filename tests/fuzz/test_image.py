"""Image files broken at random: each is decoded, or refused with an ImageError, in little time.

``VISION_COMPOSER_FUZZ`` is the number of examples that are tried; ``make fuzz`` sets a large one. What once
went wrong stands in ``corpus/image``.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, features

from vision_composer.errors import ImageError
from vision_composer.images import decode, limits
from vision_composer.images.decode import open_image, size_of_image

CORPUS = sorted((Path(__file__).parent / "corpus/image").iterdir())
"""Small files that were wrong once."""

FUZZ = settings(
    max_examples=int(os.environ.get("VISION_COMPOSER_FUZZ", "250")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

SECONDS = 5.0
"""Computing time of one file, with room for a busy machine."""

SAVED: dict[str, tuple[str, dict[str, Any]]] = {
    "PNG": ("RGBA", {}),
    "JPEG": ("RGB", {"progressive": True}),
    "MPO": ("RGB", {}),
    "GIF": ("P", {}),
    "WEBP": ("RGBA", {"lossless": True}),
    "TIFF": ("RGB", {"compression": "tiff_lzw"}),
    "JPEG2000": ("RGB", {}),
    "BMP": ("RGB", {}),
    "PPM": ("I;16", {}),
    "TGA": ("RGB", {"compression": "tga_rle"}),
    "QOI": ("RGB", {}),
    "PCX": ("P", {}),
    "SGI": ("RGB", {}),
    "DDS": ("RGBA", {"pixel_format": "DXT5"}),
    "XBM": ("1", {}),
    "SPIDER": ("F", {}),
} | ({"AVIF": ("RGB", {"speed": 10})} if features.check("avif") else {})


@cache
def sound(name: str) -> bytes:
    """A valid file of that format, with an orientation where it can have one."""
    mode, options = SAVED[name]
    image = Image.radial_gradient("L").resize((36, 28)).convert(mode if mode != "I;16" else "I")
    if mode == "I;16":
        image = image.convert("I;16")
    buffer = io.BytesIO()
    image.save(buffer, name, **options)
    return buffer.getvalue()


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    """A valid file with bytes changed, cut out or doubled, mostly in its head, where the parsing is."""
    data = bytearray(sound(draw(st.sampled_from(sorted(SAVED)))))
    for _ in range(draw(st.integers(1, 6))):
        where = draw(st.integers(0, min(len(data), 96)) | st.integers(0, len(data)))
        length = draw(st.integers(0, 8))
        change = draw(st.sampled_from(["overwrite", "number", "cut", "double", "truncate"]))
        if change == "overwrite":
            data[where : where + length] = draw(st.binary(min_size=length, max_size=length))
        elif change == "number":  # sizes, counts and offsets that lie at the bounds
            number = draw(st.sampled_from([0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]))
            width = draw(st.sampled_from([1, 2, 4]))
            order = draw(st.sampled_from(["little", "big"]))
            data[where : where + width] = (number % 256**width).to_bytes(width, order)
        elif change == "cut":
            del data[where : where + length]
        elif change == "double":
            data[where:where] = data[where : where + 64 * length]
        else:
            del data[where:]
    return bytes(data)


def check(content: bytes) -> None:
    """Hold one file to what is promised of every file."""
    with tempfile.NamedTemporaryFile() as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.write(content)
        file.flush()
        start = time.thread_time()
        size = size_of_image(file.name)
        try:
            image = open_image(file.name)
        except ImageError as error:
            assert error.name == file.name  # noqa: PT017  # refused or decoded: either is right
        else:
            assert (image.mode, image.size) == ("RGB", size)
            assert image.width * image.height <= decode.MAX_PIXELS
        assert time.thread_time() - start < SECONDS


@pytest.fixture
def few_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse what a damaged header blows up: decoding it is slow, and checked elsewhere."""
    monkeypatch.setattr(decode, "MAX_PIXELS", 2_000_000)
    monkeypatch.setattr(limits, "MAX_BYTES", 2_000_000 * 25)


@pytest.mark.parametrize("name", SAVED)
def test_files_that_are_mutated_are_sound(name: str) -> None:
    assert open_image(Image.open(io.BytesIO(sound(name)))).size == (36, 28)
    check(sound(name))


@pytest.mark.usefixtures("few_pixels")
@FUZZ
@given(content=mutants())
def test_mutated_image_files(content: bytes) -> None:
    check(content)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_files_that_were_wrong_once(path: Path) -> None:
    check(path.read_bytes())
