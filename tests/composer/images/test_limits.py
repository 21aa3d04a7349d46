"""What decoding may cost: scans, computing time, and memory that threads share."""

from __future__ import annotations

import io
import re
import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vision_composer.errors import ImageError
from vision_composer.images import limits
from vision_composer.images.decode import open_image
from vision_composer.images.limits import Budget, LimitError, TimedFile, decoding_bytes

SCANS_OF_GREY = 6


def jpeg(
    size: tuple[int, int],
    *,
    more_scans: int = 0,
    thumbnail: bytes = b"",
    tail: bytes = b"",
    mode: str = "RGB",
    **options: Any,
) -> bytes:
    """A progressive JPEG of ten scans, or six if it is grey, the last of them repeated."""
    buffer = io.BytesIO()
    gradient = Image.linear_gradient("L").resize(size).convert(mode)
    gradient.save(buffer, "JPEG", progressive=True, **options)
    head, body = buffer.getvalue()[:2], buffer.getvalue()[2:-2]
    last = body[[match.start() for match in re.finditer(b"\xff\xda", body)][-1] :]
    comment = b"\xff\xfe" + struct.pack(">H", len(thumbnail) + 2) + thumbnail if thumbnail else b""
    return head + comment + body + last * more_scans + b"\xff\xd9" + tail


def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_SCANNED_PIXELS", 20 * 40 * 30)
    path = tmp_path / "p.jpg"
    path.write_bytes(jpeg((40, 30), more_scans=10))
    assert open_image(path).size == (40, 30)
    path.write_bytes(jpeg((40, 30), more_scans=11))
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="40x30 pixels has more than 20 scans"):
        open_image(path)


def test_scans_of_thumbnails_and_behind_the_end_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_SCANNED_PIXELS", 10 * 40 * 30)
    path = tmp_path / "p.jpg"
    path.write_bytes(jpeg((40, 30), thumbnail=jpeg((8, 8)), tail=jpeg((40, 30))))
    assert path.read_bytes().count(b"\xff\xda") == 30
    assert open_image(path).size == (40, 30)


def test_scans_do_not_hide_behind_a_marker_without_length(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.jpg"
    sound = jpeg((40, 30), more_scans=300, restart_marker_blocks=1)
    restart = sound.index(b"\xff\xd0", sound.index(b"\xff\xda"))
    path.write_bytes(sound[:restart] + b"\xff\x02\xff\xff" + sound[restart:])
    assert len(sound) - restart < 0xFFFF
    # The decoder passes over what is no marker, and so reads every scan.
    with Image.open(io.BytesIO(sound)) as image:
        assert open_image(path).tobytes() == image.tobytes()
    monkeypatch.setattr(limits, "MAX_SCANNED_PIXELS", 309 * 40 * 30)
    with pytest.raises(ImageError, match="40x30 pixels has more than 309 scans"):
        open_image(path)
    monkeypatch.setattr(limits, "MAX_SCANNED_PIXELS", 310 * 40 * 30)
    assert open_image(path).size == (40, 30)


def tiff(
    jpegs: list[bytes],
    size: tuple[int, int],
    *,
    shared: bool = False,
    lengths: bool = True,
    big: bool = False,
    more_tags: Sequence[tuple[int, int, int]] = (),
) -> bytes:
    """A grey TIFF, or BigTIFF, of JPEG strips, or of one that all strips share."""
    stored = jpegs[:1] if shared else jpegs
    start = 16 if big else 8
    places = [start + sum(map(len, stored[:i])) for i in range(len(stored))] * (len(jpegs) if shared else 1)
    table = start + sum(map(len, stored))
    many = len(jpegs)
    counts = [len(strip) * lengths for strip in jpegs]
    tags = [
        *((256, 1, size[0]), (257, 1, size[1]), (258, 1, 8), (259, 1, 7), (262, 1, 1), (273, many, table)),
        *((277, 1, 1), (278, 1, size[1] // many), (279, many, table + 4 * many)),
        *more_tags,
    ]
    head = struct.pack("<4sHHQ", b"II+\0", 8, 0, 0)[:8] if big else b"II*\0"
    if many == 1:  # then they stand in their entries
        inside = {273: places[0], 279: counts[0]}
        tags = [(tag, count, inside.get(tag, value)) for tag, count, value in tags]
    return (
        head
        + struct.pack("<Q" if big else "<I", table + 8 * many)
        + b"".join(stored)
        + struct.pack(f"<{2 * many}I", *places, *counts)
        + struct.pack("<Q" if big else "<H", len(tags))
        + b"".join(
            struct.pack("<HHQQ" if big else "<HHII", tag, 4, count, value) for tag, count, value in tags
        )
        + bytes(8 if big else 4)
    )


@pytest.mark.parametrize("shared", [False, True])
def test_a_tiff_of_jpegs_of_many_scans_is_refused(
    shared: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_SCANNED_PIXELS", 20 * 40 * 32)
    path = tmp_path / "p.tif"
    few, many = (jpeg((40, 16), more_scans=scans - SCANS_OF_GREY, mode="L") for scans in (20, 21))
    path.write_bytes(tiff([few, few], (40, 32), shared=shared))
    assert open_image(path).size == (40, 32)
    strips = [many, many] if shared else [few, many]
    for lengths in (True, False):
        path.write_bytes(tiff(strips, (40, 32), shared=shared, lengths=lengths))
        with pytest.raises(ImageError, match="40x32 pixels has more than 20 scans"):
            open_image(path)


@pytest.mark.parametrize("big", [False, True])
def test_a_tiff_that_says_a_tag_twice_is_refused(big: bool, tmp_path: Path) -> None:
    path = tmp_path / "p.tif"
    strip = jpeg((40, 32), mode="L")
    path.write_bytes(tiff([strip], (40, 32), big=big))
    assert open_image(path).size == (40, 32)
    path.write_bytes(tiff([strip], (40, 32), big=big, more_tags=[(256, 1, 40)]))
    with pytest.raises(ImageError, match="says a tag twice"):
        open_image(path)


def test_a_tiff_of_many_jpegs_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_SCANNED_PIXELS", 40 * 320)
    Image.linear_gradient("L").resize((40, 320)).save(tmp_path / "p.tif", compression="jpeg", strip_size=640)
    assert (tmp_path / "p.tif").read_bytes().count(b"\xff\xda") == 20
    assert open_image(tmp_path / "p.tif").size == (40, 320)


def test_ten_scans_of_the_largest_image_are_allowed() -> None:
    assert limits.MAX_SCANNED_PIXELS == 10 * limits.MAX_PIXELS


@pytest.mark.parametrize("suffix", ["ppm", "dds", "xpm"])
def test_decoding_that_takes_too_long_is_given_up(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"p.{suffix}"
    if suffix == "dds":
        Image.new("RGB", (200, 200)).save(path)
    elif suffix == "ppm":
        path.write_bytes(b"P3 200 200 255 " + b"1 2 3\n" * 40_000)
    else:
        path.write_bytes(b'/* XPM */\n"4 4 1 1",\n"a c #ffffff",\n' + b'"aaaa",\n' * 4)
    assert open_image(path).size in ((200, 200), (4, 4))
    monkeypatch.setattr(limits, "MAX_SECONDS", 0.0)
    with pytest.raises(ImageError, match="takes more than the limit of 0 seconds to decode"):
        open_image(path)


def test_time_that_others_compute_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p"
    path.write_bytes(b"line\n" * 3)
    monkeypatch.setattr(limits, "MAX_SECONDS", 0.2)
    with TimedFile(str(path)) as file:
        threading.Event().wait(0.3)
        assert file.readline() == b"line\n"
        end = limits.time.thread_time() + 0.3
        while limits.time.thread_time() < end:
            pass
        for read in (file.read, file.readline):
            with pytest.raises(LimitError, match=r"0\.2 seconds"):
                read(2)


def test_a_large_file_is_not_read_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.webp"
    Image.effect_noise((64, 64), 90).convert("RGB").save(path)
    size = path.stat().st_size
    monkeypatch.setattr(limits, "MAX_WHOLE_BYTES", size)
    assert open_image(path).size == (64, 64)
    monkeypatch.setattr(limits, "MAX_WHOLE_BYTES", size // 2)
    with pytest.raises(ImageError, match="more than the limit of"):
        open_image(path)
    monkeypatch.setattr(limits, "MAX_FILE_BYTES", size - 1)
    with pytest.raises(ImageError, match=f"{size:,} bytes or more; the limit is {size - 1:,} bytes"):
        open_image(path)


# --- the budget ---------------------------------------------------------------------------------------


def test_threads_wait_for_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BYTES", 10)
    budget = Budget()
    held, most, finished = 0, 0, 0
    lock = threading.Lock()

    def work() -> None:
        nonlocal held, most, finished
        for size in (3, 7, 4, 10):
            with budget.taking(size):
                with lock:
                    held += size
                    most = max(most, held)
                threading.Event().wait(0.001)
                with lock:
                    held -= size
        with lock:
            finished += 1

    threads = [threading.Thread(target=work, daemon=True) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert finished == 6
    assert 7 <= most <= 10


def test_what_failed_gives_its_bytes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BYTES", 10)
    budget = Budget()
    with pytest.raises(RuntimeError), budget.taking(10):
        raise RuntimeError
    with (
        pytest.raises(LimitError, match="takes about 11 bytes, more than the limit of 10"),
        budget.taking(11),
    ):
        pass
    with budget.taking(10):
        pass


def test_an_image_that_takes_more_than_all_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.jp2"
    Image.new("RGB", (50, 40)).save(path)
    monkeypatch.setattr(limits, "MAX_BYTES", 50 * 40 * 16)
    assert open_image(path).size == (50, 40)
    monkeypatch.setattr(limits, "MAX_BYTES", 50 * 40 * 16 - 1)
    with pytest.raises(ImageError, match="decoding it takes about 32,000 bytes"):
        open_image(path)


def test_a_tile_larger_than_its_image_counts(tmp_path: Path) -> None:
    path = tmp_path / "p.tif"
    Image.new("L", (9, 7)).save(path, compression="tiff_deflate")
    with Image.open(path) as image:
        assert decoding_bytes(image) == 9 * 7 * 12
        image.tag_v2[322] = image.tag_v2[323] = 512  # TileWidth, TileLength
        assert decoding_bytes(image) == 512 * 512 * 12


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "CMYK"])
def test_the_largest_image_of_common_modes_fits(mode: str) -> None:
    image = Image.new(mode, (1, 1))
    image._size = (limits.MAX_PIXELS, 1)
    assert decoding_bytes(image) <= limits.MAX_BYTES
