"""What a hostile file may cost: each in a process of its own, which is watched."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.pace import pace

from vision_composer import compose
from vision_composer.errors import ImageError
from vision_composer.jobs import encode_images

CORPUS = Path(__file__).parents[2] / "fuzz/corpus/image"

WATCHED = """
import json, resource, sys, time
from PIL import Image
from vision_composer.errors import ImageError
from vision_composer.images.decode import open_image, size_of_image

Image.MAX_IMAGE_PIXELS = None  # as many programs set it
open_image(Image.new("L", (1, 1)))  # loads the plugins
Image.init()
events = []
watched = ("open", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.")

def note(name, arguments):
    if name.startswith(watched):
        events.append([name, str(arguments[:1])])

sys.addaudithook(note)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.process_time()
try:
    size_of_image(sys.argv[1])
    reason = str(open_image(sys.argv[1]).size)
except ImageError as error:
    reason = error.reason
seconds = time.process_time() - start
kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(json.dumps({"reason": reason, "seconds": seconds, "mib": kib / 1024, "events": events}))
"""


def progressive(path: Path) -> None:
    """A JPEG whose last scan is said 500 times."""
    path.write_bytes((CORPUS / "many-scans.jpg").read_bytes())


def bomb(path: Path) -> None:
    """An image of 900 megapixels, by its header."""
    path.write_bytes(b"P6 30000 30000 255\n" + bytes(100))


def icon(path: Path) -> None:
    """An icon of 8 x 8 pixels that holds a PNG of 180 megapixels."""
    inner = path.with_name("inner.png")
    Image.new("1", (13_400, 13_400)).save(inner)
    content = inner.read_bytes()
    path.write_bytes(struct.pack("<HHHBBBBHHII", 0, 1, 1, 8, 8, 0, 0, 1, 32, len(content), 22) + content)
    inner.unlink()


def listening(path: Path) -> None:
    """A socket."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


def sparse(path: Path) -> None:
    """A file of 2 GiB that takes no space."""
    with path.open("wb") as file:
        file.write(b"BM")
        file.truncate(2**31)


def webp(path: Path) -> None:
    """A WebP of more bytes than are read at once, most of them not there."""
    with path.open("wb") as file:
        file.write(b"RIFF" + struct.pack("<I", 2**29) + b"WEBPVP8L" + struct.pack("<I", 2**29 - 20) + b"\x2f")
        file.truncate(2**29)


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "scans.jpg": (progressive, "a JPEG of 2000x2000 pixels has more than 447 scans, which take too long"),
    "wide.jp2": (
        lambda path: path.write_bytes((CORPUS / "169-megapixels.jp2").read_bytes()),
        "decoding it takes about 2,704,000,000 bytes, more than the limit of 2,147,483,648",
    ),
    "canvas.webp": (
        lambda path: path.write_bytes((CORPUS / "canvas-of-179-megapixels.webp").read_bytes()),
        "decoding it takes about 2,860,110,400 bytes, more than the limit of 2,147,483,648",
    ),
    "iptc.jpg": (
        lambda path: path.write_bytes((CORPUS / "eps-in-iptc.jpg").read_bytes()),
        "not an image in a format that can be read, or its header is broken",
    ),
    "bomb.ppm": (bomb, "30000x30000 pixels is more than the limit of 178,956,970 pixels"),
    "icon.ico": (icon, "not an image in a format that can be read, or its header is broken"),
    "pipe.png": (os.mkfifo, "cannot be read: a named pipe, not a regular file"),
    "device.png": (
        lambda path: path.symlink_to("/dev/zero"),
        "cannot be read: a device, not a regular file",
    ),
    "socket.png": (listening, "cannot be read: a socket, not a regular file"),
    "folder.png": (os.mkdir, "cannot be read: a folder, not a regular file"),
    "sparse.bmp": (sparse, "cannot be read: 2,147,483,648 bytes or more; the limit is 1,073,741,824 bytes"),
    "large.webp": (webp, "the file has more than the limit of 268,435,456 bytes for its format"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused_cheaply(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    make, reason = FILES[name]
    make(path)
    before = pace()
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(path)], capture_output=True, check=True, timeout=120
    )
    found = json.loads(done.stdout)
    assert found["reason"] == reason
    assert found["seconds"] / max(before, pace()) < 2
    assert found["mib"] < 1024
    assert {tuple(event) for event in found["events"]} <= {("open", str((str(path),)))}


def test_a_job_fails_hostile_files_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # A folder is searched, Pillow's own limit speaks of the bomb first, and the others take long to make.
    names = [name for name in FILES if name not in ("folder.png", "bomb.ppm", "icon.ico", "large.webp")]
    for name in names:
        FILES[name][0](tmp_path / name)
    Image.new("RGB", (9, 9)).save(tmp_path / "sound.png")
    reasons: dict[str, str] = {}

    def note(done: int, total: int, error: ImageError | None) -> None:
        if error is not None:
            reasons[Path(error.name).name] = error.reason

    files = sorted(tmp_path.iterdir())
    summary = encode_images(compose("tiny-digits"), files, tmp_path / "out", on_progress=note)
    assert (summary.num_images, summary.num_failed) == (1, len(names))
    assert reasons == {name: FILES[name][1] for name in names}
