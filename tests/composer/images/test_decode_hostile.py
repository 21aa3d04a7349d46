"""What is no image, or a broken or hostile one: always an ImageError, before much has been read."""

from __future__ import annotations

import os
import random
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, features
from sklearn.datasets import load_sample_images

from vision_composer.errors import ImageError
from vision_composer.images import decode, limits
from vision_composer.images.decode import MAX_PIXELS, image_formats, open_image

PHOTO = Image.fromarray(load_sample_images().images[0]).resize((53, 37))
AVIF = ["avif"] if features.check("avif") else []  # Pillow's wheels bring it since 11.3
FORMATS = ["png", "bmp", "tif", "ppm", "tga", "qoi", "pcx", "sgi", "jp2", "webp", "gif", "jpg", "mpo"]
FORMATS += [*AVIF, "dds"]


def save(suffix: str, path: Path) -> Path:
    """A small photograph, in a mode and size that the format takes."""
    photo = PHOTO.resize((32, 32)) if suffix == "dds" else PHOTO
    if suffix == "gif":
        photo = photo.quantize(64)
    elif suffix in ("pbm", "xbm"):
        photo = photo.convert("1")
    elif suffix == "spider":
        photo = photo.convert("F")
    photo.save(path, **({"format": "SPIDER"} if suffix == "spider" else {}))
    return path


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((3, 8, 9), np.uint8), r"expected uint8 .*\(height, width, 3\)"),
        (np.zeros((8, 9, 3), np.float32), "float32"),
        (np.zeros((8, 9, 3), np.uint16), "uint16"),
        (np.zeros((8, 9, 2), np.uint8), "expected uint8"),
        (np.zeros((1, 8, 9, 3), np.uint8), "expected uint8"),
        (np.zeros((9,), np.uint8), "expected uint8"),
        (np.zeros((0, 9, 3), np.uint8), "empty: 9x0"),
        (np.zeros((9, 0), np.uint8), "empty: 0x9"),
        (Image.new("RGB", (0, 4)), "empty: 0x4"),
        (Image.new("L", (4, 0)), "empty: 4x0"),
        (b"bytes", "not an image in a format that can be read"),
        (None, "not NoneType"),
        ([[1]], "not list"),
    ],
)
def test_not_an_image(image: Any, reason: str) -> None:
    with pytest.raises(ImageError, match=reason) as caught:
        open_image(image, name="that one")
    assert caught.value.name == "that one"


def test_not_a_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.png"
    os.mkfifo(fifo)
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    reasons = {
        tmp_path: "a folder",
        fifo: "a named pipe, not a regular file",
        tmp_path / "empty.png": "empty",
        tmp_path / "text.png": "not an? ",
        tmp_path / "dangling.png": "no such file",
        tmp_path / "missing.png": "no such file",
        tmp_path / "text.png" / "below.png": "Not a directory",
        tmp_path / ("x" * 300): "too long",
        "null\0byte.png": "null character",
        "": "no such file",
    }
    for path, reason in reasons.items():
        with pytest.raises(ImageError, match=reason) as caught:
            open_image(path)
        assert caught.value.name == str(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads every file")
def test_unreadable_file(tmp_path: Path) -> None:
    path = save("png", tmp_path / "p.png")
    path.chmod(0)
    with pytest.raises(ImageError, match="Permission denied"):
        open_image(path)


def test_an_error_of_the_operating_system_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save("png", tmp_path / "p.png")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(limits, "open_regular", refuse)
    with pytest.raises(ImageError, match=r"p\.png: cannot be read: Permission denied"):
        open_image(path)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif", "jp2", "gif", *AVIF])
def test_cut_in_half(suffix: str, tmp_path: Path) -> None:
    path = save(suffix, tmp_path / f"p.{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match=path.name):
        open_image(path)


def test_postscript_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "p.eps"
    PHOTO.save(path)
    with pytest.raises(ImageError, match="not an image in a format that can be read"):
        open_image(path)
    assert "EPS" not in image_formats()


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


BOMBS = {
    "p.png": png_header(30000, 30000),
    "p.bmp": b"BM"
    + struct.pack("<IHHI", 54, 0, 0, 54)
    + struct.pack("<IiiHHIIiiII", 40, 30000, 30000, 1, 24, 0, 0, 0, 0, 0, 0),
    "p.gif": b"GIF89a"
    + struct.pack("<HHBBB", 30000, 30000, 0x80, 0, 0)
    + b"\0" * 6
    + b","
    + struct.pack("<HHHHB", 0, 0, 30000, 30000, 0)
    + b"\x02\x02L\x01\0;",
    "p.ppm": b"P6 30000 30000 255\n",
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("pillows_limit", [89_478_485, None])
def test_decompression_bomb(
    name: str, pillows_limit: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillows_limit)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    (tmp_path / name).write_bytes(BOMBS[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match="limit"):
            open_image(tmp_path / name)
    assert pillows_limit == Image.MAX_IMAGE_PIXELS


def test_the_limit_is_ours_and_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_PIXELS == 2 * Image.MAX_IMAGE_PIXELS
    path = tmp_path / "p.png"
    Image.new("RGB", (9, 9)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60)  # 81 pixels lie between Pillow's warning and its error
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_image(path).size == (9, 9)
        monkeypatch.setattr(decode, "MAX_PIXELS", 81)
        assert open_image(path).size == (9, 9)
        monkeypatch.setattr(decode, "MAX_PIXELS", 80)
        for source in (path, Image.new("L", (9, 9)), np.zeros((9, 9), np.uint8)):
            with pytest.raises(ImageError, match="9x9 pixels is more than the limit of 80"):
                open_image(source)


def test_threads_leave_the_warning_filters_alone(tmp_path: Path) -> None:
    path = save("png", tmp_path / "p.png")
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(open_image, [path] * 200))) == 200
    assert list(warnings.filters) == before


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="open files are counted through /proc")
def test_no_file_stays_open(tmp_path: Path) -> None:
    paths = [save(suffix, tmp_path / f"p.{suffix}") for suffix in FORMATS]
    for path in list(paths):
        broken = path.with_name(f"broken{path.suffix}")
        broken.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
        paths.append(broken)
    kept = []
    before = len(os.listdir("/proc/self/fd"))
    for path in paths:
        try:
            kept.append(open_image(path))
        except ImageError as error:
            kept.append(error)
    assert len(os.listdir("/proc/self/fd")) == before


PSD = b"8BPS\0\1" + b"\0" * 6 + struct.pack(">HIIHH", 3, 4, 4, 8, 3) + b"\0" * 62
UNWRITABLE = {"psd": PSD}  # Pillow reads it only


@pytest.mark.parametrize("suffix", [*FORMATS, "pbm", "xbm", "spider", *UNWRITABLE])
def test_whatever_the_bytes(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_PIXELS", 2_000_000)  # a mutated header may ask for gigabytes
    path = tmp_path / f"p.{suffix}"
    if suffix in UNWRITABLE:
        path.write_bytes(UNWRITABLE[suffix])
    else:
        save(suffix, path)
    assert open_image(path).mode == "RGB"
    original = path.read_bytes()
    rng = random.Random(suffix)
    outcomes: set[str] = set()
    for trial in range(120):
        data = bytearray(original)
        for _ in range(rng.choice([1, 1, 2, 8, 40])):
            # Headers are where the parsing is: half of the changes go there.
            where = rng.randrange(min(len(data), 80) if rng.random() < 0.5 else len(data))
            data[where] = rng.choice([0, 255, rng.randrange(256), data[where] ^ (1 << rng.randrange(8))])
        if trial % 4 == 0:
            del data[rng.randrange(len(data)) :]
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                outcomes.add(open_image(path).mode)
            except ImageError:
                outcomes.add("refused")
    assert outcomes in ({"refused"}, {"refused", "RGB"})
