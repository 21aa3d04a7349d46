"""A report is written whole, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.images import noise_image

from vision_composer import compose, inspect_images, write_report
from vision_composer.errors import InputError
from vision_composer.report import Inspection


@pytest.fixture(scope="module")
def inspection() -> Inspection:
    return inspect_images(compose("tiny-digits"), [noise_image(40, 30)])


def test_the_same_inspection_is_the_same_file(inspection: Inspection, tmp_path: Path) -> None:
    one, other = (write_report(inspection, tmp_path / name) for name in ("one.html", "other.html"))
    assert one.read_bytes() == other.read_bytes()
    assert one.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert (one.stat().st_mode & 0o600) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.html", "other.html"]


def test_a_file_that_is_there_is_kept(inspection: Inspection, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        write_report(inspection, path)
    assert path.read_text() == "mine"
    write_report(inspection, path, overwrite=True)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_nothing_is_left_of_a_file_that_cannot_be_written(
    inspection: Inspection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vision_composer.report.writing.os.replace", full)
    with pytest.raises(InputError, match="cannot be written: No space left"):
        write_report(inspection, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_place_for_it(inspection: Inspection, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        write_report(inspection, tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        write_report(inspection, tmp_path / "none" / "report.html")
