"""Lists of files: every line is a file, whatever its name, and nothing else is."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from vision_composer.errors import InputError
from vision_composer.jobs.inputs import InputOptions, find_inputs, list_rows


def paths(*inputs: Path | str, column: str | None = None) -> list[str]:
    return [row.path for row in list_rows(find_inputs(inputs), InputOptions(column=column))]


def test_a_text_of_paths(tmp_path: Path) -> None:
    text = tmp_path / "list.txt"
    text.write_bytes(b"a.jpg\r\n\n/abs/b.png\nsub/caf\xc3\xa9 \xff.jpg\nsub/a.jpg\nsub/a.jpg")
    folder = str(tmp_path)
    odd = b"sub/caf\xc3\xa9 \xff.jpg".decode("utf-8", "surrogateescape")
    twice = [f"{folder}/sub/a.jpg"] * 2
    assert paths(text) == [f"{folder}/a.jpg", "/abs/b.png", f"{folder}/{odd}", *twice]


@pytest.mark.parametrize("length", [1, 65_000, 65_535, 65_536])
def test_lines_across_the_pieces_that_are_read(length: int, tmp_path: Path) -> None:
    names = ["x" * length, *(f"{i:05}.jpg" for i in range(30_000))]
    (tmp_path / "list.txt").write_text("\n".join(names))
    assert paths(tmp_path / "list.txt") == [f"{tmp_path}/{name}" for name in names]


@pytest.mark.parametrize("separator", ["\n", "\0"])
def test_a_byte_order_mark_is_no_part_of_a_name(separator: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"a.jpg{separator}b.jpg", encoding="utf-8-sig")
    assert paths(tmp_path / "list.txt") == [f"{tmp_path}/a.jpg", f"{tmp_path}/b.jpg"]


def test_null_characters_keep_line_breaks_in_names(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"a\nb.jpg\0c.jpg\0")
    assert paths(tmp_path / "list.txt") == [f"{tmp_path}/a\nb.jpg", f"{tmp_path}/c.jpg"]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a.jpg\nb.jpg\n")))
    assert paths("-") == ["a.jpg", "b.jpg"]


def test_csv(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text('\ufefflabel,file_name\n0,a.jpg\n1,"b\n"".jpg"\n2,\n3\n', encoding="utf-8")
    assert paths(table) == [f"{tmp_path}/a.jpg", f'{tmp_path}/b\n".jpg']
    assert paths(table, column="label") == [f"{tmp_path}/{i}" for i in range(4)]
    with pytest.raises(InputError, match=r"no column 'lable' \(did you mean 'label'\?\)"):
        paths(table, column="lable")
    table.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"name it with --column .*; its columns: a, b"):
        paths(table)
    table.write_text("image\n" + "x" * 200_000)
    with pytest.raises(InputError, match="line 2: field larger than"):
        paths(table)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no images"),
        ("\n\n", "no images"),
        ("https://example.org/a.jpg", "is no file: download"),
        ("x" * 200_000, "is no path"),
    ],
)
def test_what_is_no_list(content: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(content)
    with pytest.raises(InputError, match=reason):
        paths(tmp_path / "list.txt")
