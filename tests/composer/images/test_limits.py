"""What decoding may cost: scans, computing time, and memory that threads share."""

from __future__ import annotations

import io
import re
import struct
import threading
from pathlib import Path

import pytest
from PIL import Image

from vision_composer.errors import ImageError
from vision_composer.images import limits
from vision_composer.images.decode import open_image
from vision_composer.images.limits import Budget, LimitError, TimedFile, decoding_bytes


def jpeg(size: tuple[int, int], *, more_scans: int = 0, thumbnail: bytes = b"", tail: bytes = b"") -> bytes:
    """A progressive JPEG of ten scans, the last of them repeated."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(buffer, "JPEG", progressive=True)
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
