"""Faults of real files: each is a row of the failures, and the rest goes on."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support.jobs import SMALL, draw

from vision_composer import compose
from vision_composer.encoder import ComposedVisionEncoder
from vision_composer.errors import InputError
from vision_composer.jobs import encode_dataset, read_features


@pytest.fixture(scope="module")
def encoder() -> ComposedVisionEncoder:
    return compose(SMALL)


def jpeg(size: tuple[int, int] = (20, 14)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "teal").save(file, "JPEG")
    return file.getvalue()


def outcome(
    encoder: ComposedVisionEncoder, *inputs: Path, **options: object
) -> tuple[list[str], dict[str, str]]:
    """The ids that were encoded, and the reasons of those that were not."""
    output = Path(inputs[0]).parent / "out"
    encode_dataset(encoder, inputs, output, workers=0, **options)  # type: ignore[arg-type]
    path = output / "failures.parquet"
    failed = pq.read_table(path).to_pylist() if path.exists() else []
    return [name for name, _ in read_features(output)], {row["id"]: row["reason"] for row in failed}


def test_files_that_cannot_be_read(encoder: ComposedVisionEncoder, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    draw(folder, 2)
    whole = jpeg((600, 400))
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "text.jpg").write_text("hello")
    (folder / "empty.png").touch()
    (folder / "huge.bmp").write_bytes(huge_bmp())
    (folder / "vanished.jpg").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "folder.jpg").mkdir()
    draw(folder / "folder.jpg", 1)
    encoded, failed = outcome(encoder, folder)
    assert sorted(Path(name).name for name in encoded) == ["000000.jpg", "000000.jpg", "000001.jpg"]
    reasons = {Path(name).name: reason for name, reason in failed.items()}
    assert reasons.keys() == {
        "truncated.jpg",
        "text.jpg",
        "empty.png",
        "huge.bmp",
        "vanished.jpg",
        "pipe.jpg",
    }
    assert "truncated" in reasons["truncated.jpg"]
    assert "not an image" in reasons["text.jpg"]
    assert reasons["empty.png"] == "the file is empty"
    assert "limit of 178956970 pixels" in reasons["huge.bmp"]
    assert "no such file" in reasons["vanished.jpg"]
    assert "a named pipe, not a regular file" in reasons["pipe.jpg"]


def huge_bmp() -> bytes:
    """The header of a picture of 60,000 x 60,000 pixels."""
    size = (60_000).to_bytes(4, "little")
    return b"BM" + bytes(8) + b"\x36\0\0\0\x28\0\0\0" + size + size + b"\1\0\x18\0" + bytes(24)


def test_a_wrong_extension_is_no_fault(encoder: ComposedVisionEncoder, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "a.png").rename(tmp_path / "in" / "a.jpg")
    encoded, failed = outcome(encoder, tmp_path / "in")
    assert (len(encoded), failed) == (1, {})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(encoder: ComposedVisionEncoder, tmp_path: Path) -> None:
    paths = draw(tmp_path / "in", 2)
    paths[0].chmod(0)
    _, failed = outcome(encoder, tmp_path / "in")
    assert failed == {str(paths[0]): "Permission denied"}


def test_a_list_of_files_that_are_none(encoder: ComposedVisionEncoder, tmp_path: Path) -> None:
    draw(tmp_path, 1)
    (tmp_path / "list.txt").write_text("000000.jpg\nmissing.jpg\n.\n000000.jpg\n")
    encoded, failed = outcome(encoder, tmp_path / "list.txt")
    assert encoded == [f"{tmp_path}/000000.jpg"] * 2
    assert failed == {
        f"{tmp_path}/missing.jpg": "no such file",
        f"{tmp_path}/.": "cannot be read: a folder, not a regular file",
    }


def test_names_of_all_kinds(encoder: ComposedVisionEncoder, tmp_path: Path) -> None:
    names = ["новый.jpg", "a\nb.jpg", " .jpg", "🐈'\".jpg", os.fsdecode(b"caf\xe9.jpg"), "-o.jpg", "a#1.jpg"]
    for name in names:
        for folder in ("one", "two"):
            (tmp_path / "in" / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / "in" / folder / name).write_bytes(jpeg())
    (tmp_path / "in" / "one" / "\n.jpg").write_bytes(b"broken")
    encoded, failed = outcome(encoder, tmp_path / "in")
    shown = {name.encode("utf-8", "backslashreplace").decode() for name in names}
    assert {Path(name).name for name in encoded} == shown
    assert len(encoded) == len(set(encoded)) == 2 * len(names)
    assert list(failed) == [f"{tmp_path}/in/one/\n.jpg"]


def test_an_archive_that_is_cut_off(encoder: ComposedVisionEncoder, tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    with tarfile.open(path, "w") as archive:
        for i in range(5):
            member = tarfile.TarInfo(f"{i}.jpg")
            member.size = len(jpeg())
            archive.addfile(member, io.BytesIO(jpeg()))
    path.write_bytes(path.read_bytes()[: 3 * (512 + 1024) + 700])
    draw(tmp_path / "others", 1)
    encoded, failed = outcome(encoder, path, tmp_path / "others")
    assert encoded == [*(f"{path}/{i}.jpg" for i in range(3)), f"{tmp_path}/others/000000.jpg"]
    assert failed.pop(f"{path}/3.jpg") == "the archive ends inside this file"
    assert failed.pop(str(path)).startswith("the archive is cut off")
    assert failed == {}


def test_tables_with_broken_cells(encoder: ComposedVisionEncoder, tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"image": [jpeg(), b"", None, b"broken", jpeg()]}), path)
    encoded, failed = outcome(encoder, path, part_size=2)
    assert encoded == [f"{path}#0", f"{path}#4"]
    assert failed == {
        f"{path}#1": "the file is empty",
        f"{path}#2": "the cell is empty",
        f"{path}#3": "not an image in a format that can be read, or its header is broken",
    }


def test_channels_that_are_no_colours_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    four = compose({**SMALL, "encoder": {**SMALL["encoder"], "num_channels": 4}})
    draw(tmp_path / "in", 1)
    with pytest.raises(InputError, match="a tower of 4 channels takes no images"):
        encode_dataset(four, [tmp_path / "in"], tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()
