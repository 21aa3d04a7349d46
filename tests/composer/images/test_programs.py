"""No image file starts a program, whatever it holds and however deep."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from PIL import EpsImagePlugin, Image

from vision_composer.errors import ImageError
from vision_composer.images.decode import image_formats, open_image, size_of_image
from vision_composer.jobs.inputs.files import image_extensions

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(mark) print\n%%EOF\n"


def iptc(content: bytes) -> bytes:
    """An IPTC file that holds an image."""

    def field(record: int, number: int, value: bytes) -> bytes:
        return bytes((0x1C, record, number)) + struct.pack(">H", len(value)) + value

    side = struct.pack(">H", 8)
    head = field(3, 60, b"\1\0") + field(3, 20, side) + field(3, 30, side) + field(3, 120, b"\5")
    return head + field(8, 10, content)


def icon(content: bytes) -> bytes:
    """An ICO file that holds an image."""
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 8, 8, 0, 0, 1, 32, len(content), 22) + content


def icns(content: bytes) -> bytes:
    """An ICNS file that holds an image."""
    block = b"ic07" + struct.pack(">I", len(content) + 8) + content
    return b"icns" + struct.pack(">I", len(block) + 8) + block


def blp(content: bytes) -> bytes:
    """A BLP1 file that holds a JPEG in name."""
    head = b"BLP1" + struct.pack("<iIIIIi", 0, 0, 8, 8, 0, 0)
    return head + struct.pack("<16I16I", 160, *[0] * 15, len(content), *[0] * 15) + b"\0\0\0\0" + content


def tiff(content: bytes) -> bytes:
    """A TIFF whose strip is a JPEG in name."""
    tags = [(256, 8), (257, 8), (258, 8), (259, 7), (262, 1), (273, 122), (277, 1), (278, 8)]
    tags.append((279, len(content)))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return (b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0").ljust(
        122, b"\0"
    ) + content


FILES = {
    "eps": EPS,
    "dos eps": b"\xc5\xd0\xd3\xc6" + struct.pack("<II", 32, len(EPS)) + b"\0" * 20 + EPS,
    "iptc": iptc(EPS),
    "iptc in iptc": iptc(iptc(EPS)),
    "icon": icon(EPS),
    "icns": icns(EPS),
    "blp": blp(EPS),
    "tiff": tiff(EPS),
    "wmf": b"\xd7\xcd\xc6\x9a\0\0"
    + struct.pack("<4hH", 0, 0, 8, 8, 96)
    + b"\0" * 6
    + b"\1\0\t\0"
    + b"\0" * 40,
    "jpeg behind eps": EPS + b"\xff\xd8\xff\xe0",
}


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What appears when a program is started: stand-ins for all that Pillow knows stand first on PATH."""
    mark = tmp_path / "started"
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("gs", "djpeg", "cjpeg", "ppmtogif", "ppmquant", "xdg-open"):
        (programs / name).write_text(f"#!/bin/sh\ntouch '{mark}'\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # looked for once per process
    return mark


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("suffix", ["jpg", "png", "eps"])
def test_no_file_starts_a_program(name: str, suffix: str, mark: Path, tmp_path: Path) -> None:
    path = tmp_path / f"p.{suffix}"
    path.write_bytes(FILES[name])
    with pytest.raises(ImageError):
        open_image(path)
    assert size_of_image(path) is None or name == "tiff"
    assert not mark.exists()


@pytest.mark.parametrize("name", ["eps", "dos eps", "iptc"])
def test_pillow_alone_would_start_one(name: str, mark: Path) -> None:
    image = Image.open(io.BytesIO(FILES[name]))
    with pytest.raises(Exception):  # noqa: B017, PT011  # the stand-in draws nothing
        image.load()
    assert mark.exists()


def test_nor_does_an_image_that_the_caller_opened(mark: Path) -> None:
    for name in ("eps", "iptc"):
        image = Image.open(io.BytesIO(FILES[name]))
        with pytest.raises(ImageError, match=f"its format is {name.upper()}: call its load"):
            open_image(image)
    assert not mark.exists()
    image = Image.new("L", (3, 2))
    image.format = "EPS"  # loaded by the caller: nothing is left to decode
    assert open_image(image).size == (3, 2)


def test_only_known_formats_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    before = image_formats()
    assert {"JPEG", "PNG", "WEBP", "TIFF"} <= set(before)
    assert not {"EPS", "WMF", "IPTC", "MIC", "FPX", "BLP", "ICO", "ICNS"} & set(before)
    assert not {".eps", ".iim", ".ico", ".wmf"} & image_extensions()
    monkeypatch.setattr(Image, "ID", [*Image.ID, "UNKNOWN", "HEIF"])
    assert image_formats() == (*before, "HEIF")
