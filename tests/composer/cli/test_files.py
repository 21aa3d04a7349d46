"""The files that PATHS mean: each once, those of a folder sorted, and nothing hidden."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
import typer

from vision_composer.cli.files import count, files_of, read_stdin
from vision_composer.schemas.yaml.nodes import MAX_BYTES


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hidden = (".git/d.yaml", "sub/.e.yaml")
    for name in ("b.yaml", "a.yml", "sub/c.yaml", "sub/notes.txt", "empty/x.txt", *hidden):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()


def test_folders_are_searched_and_named_files_are_taken_as_they_are() -> None:
    assert files_of(["."]) == [Path("a.yml"), Path("b.yaml"), Path("sub/.e.yaml"), Path("sub/c.yaml")]
    assert files_of(["sub/notes.txt", ".git"]) == [Path("sub/notes.txt"), Path(".git/d.yaml")]


def test_each_file_once_in_the_order_given() -> None:
    assert files_of(["sub/c.yaml", "-", "sub", "./b.yaml", "-", "b.yaml"]) == [
        Path("sub/c.yaml"),
        None,
        Path("sub/.e.yaml"),
        Path("b.yaml"),
    ]


@pytest.mark.parametrize(
    ("path", "message"),
    [("empty", "no .yaml or .yml file in 'empty'"), ("gone.yaml", "no such file or folder: 'gone.yaml'")],
)
def test_paths_that_lead_nowhere(path: str, message: str) -> None:
    with pytest.raises(typer.BadParameter) as caught:
        files_of([path])
    assert (caught.value.message, caught.value.param_hint) == (message, "PATHS")


def test_a_folder_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> object:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(typer.BadParameter, match=r"the folder 'sub' cannot be read: Permission denied"):
        files_of(["sub"])


def test_no_more_of_standard_input_than_shows_that_it_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO(b"#" * (2 * MAX_BYTES))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(content))
    assert len(read_stdin()) == MAX_BYTES + 1


def test_one_and_several() -> None:
    assert [count(number, "file") for number in (0, 1, 2)] == ["0 files", "1 file", "2 files"]
