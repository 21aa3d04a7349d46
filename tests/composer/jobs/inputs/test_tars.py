"""Tar archives: every image is found by its place, and archives that end early say so."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from vision_composer.errors import ImageError, InputError
from vision_composer.jobs.inputs import InputOptions, Row, find_inputs, list_rows, load_row


def make(path: Path, files: list[tuple[str, bytes]], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def picture(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (5, 4), (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


def rows(path: Path) -> list[Row]:
    return list(list_rows(find_inputs([path]), InputOptions()))


FILES = [
    ("0.png", picture(0)),
    ("0.json", b"{}"),
    ("a/1.PNG", picture(1)),
    ("0.png", picture(2)),
    ("é\n.png", b"x"),
]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_images_by_their_place(form: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tarfile.TarFile, "format", form)
    long = ("d" * 90 + "/" + "n" * 90 + ".png", picture(3))
    path = make(tmp_path / "s.tar", [*FILES, long])
    images = [file for file in (*FILES, long) if not file[0].endswith(".json")]
    listed = rows(path)
    assert [row.id for row in listed] == [f"{path}/{name}" for name, _ in images]
    assert [load_row(row) for row in listed] == [content for _, content in images]


def test_an_archive_that_ends_early(tmp_path: Path) -> None:
    whole = make(tmp_path / "s.tar", [(f"{i}.png", picture(i)) for i in range(9)]).read_bytes()
    size = 512 + 512  # a header, and a picture that is padded
    (tmp_path / "s.tar").write_bytes(whole[: 4 * size + 512 + 20])
    listed = rows(tmp_path / "s.tar")
    assert [row.id.rpartition("/")[2] for row in listed] == [*(f"{i}.png" for i in range(5)), "s.tar"]
    assert [load_row(row) for row in listed[:4]] == [picture(i) for i in range(4)]
    with pytest.raises(ImageError, match="the archive ends inside this file"):
        load_row(listed[4])
    with pytest.raises(ImageError, match="the archive is cut off"):
        load_row(listed[5])


@pytest.mark.parametrize("damage", ["a header", "a header that is cut off", "a name that is cut off"])
def test_an_archive_that_is_damaged(damage: str, tmp_path: Path) -> None:
    long = damage == "a name that is cut off"
    files = [(f"{'n' * 200 * long}{i}.png", picture(i)) for i in range(9)]
    whole = make(tmp_path / "s.tar", files).read_bytes()
    start = (len(whole) // 1024 - 2) // 9 * 1024 * 4 if long else 4 * 1024
    broken = whole[:start] + (whole[start : start + 200] if "cut off" in damage else b"x" * 512)
    (tmp_path / "s.tar").write_bytes(broken + (b"" if "cut off" in damage else whole[len(broken) :]))
    *listed, last = rows(tmp_path / "s.tar")
    assert [load_row(row) for row in listed] == [picture(i) for i in range(4)]
    with pytest.raises(ImageError, match=r"the archive is (damaged|cut off)"):
        load_row(last)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "holds no images|not a tar"), (b"no archive" * 100, "not a tar archive without compression")],
)
def test_what_is_no_archive(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "s.tar").write_bytes(content)
    with pytest.raises(InputError, match=reason):
        rows(tmp_path / "s.tar")


def test_archives_without_images_or_with_compression(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no images"):
        rows(make(tmp_path / "s.tar", [("a.json", b"{}")]))
    make(tmp_path / "z.tar", FILES, "w:gz")
    with pytest.raises(InputError, match="not a tar archive without compression"):
        rows(tmp_path / "z.tar")


def test_links_and_devices_in_an_archive_are_no_images(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo("x.png")
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    with pytest.raises(InputError, match="holds no images"):
        rows(tmp_path / "s.tar")


@pytest.mark.parametrize("size", [-1, -(1 << 40), 1 << 70])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME])
def test_sizes_that_are_none(kind: bytes, size: int, tmp_path: Path) -> None:
    make(tmp_path / "s.tar", [("0.png", picture(0))])
    content = (tmp_path / "s.tar").read_bytes()[:1024]
    member = tarfile.TarInfo("1.png")
    member.type, member.size = kind, size
    (tmp_path / "s.tar").write_bytes(content + member.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    first, last = rows(tmp_path / "s.tar")
    assert load_row(first) == picture(0)
    # A later tarfile ends at a negative size, as at the end of an archive.
    said = rf"the archive is (cut off or damaged: |damaged: no file begins at byte {len(content):,})"
    with pytest.raises(ImageError, match=said):
        load_row(last)


def test_a_file_that_claims_to_be_huge(tmp_path: Path) -> None:
    member = tarfile.TarInfo("x.png")
    member.size = 1 << 40
    (tmp_path / "s.tar").write_bytes(member.tobuf() + bytes(2048))
    first, *_ = rows(tmp_path / "s.tar")
    with pytest.raises(ImageError, match="the limit in an archive"):
        load_row(first)
