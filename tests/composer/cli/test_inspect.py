"""``inspect`` writes a page, names what it could not read, and says why nothing was written."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from support.images import noise_image
from typer.testing import CliRunner, Result

from vision_composer.cli.inspect import inspect
from vision_composer.errors import InputError


def run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(inspect)
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    noise_image(40, 30).save(path)
    return path


def test_a_page_is_written(image: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    result = run("tiny-digits", image, "-o", page, "--set", "select_layers=[-2]", "--set", "post_norm=none")
    assert result.exit_code == 0
    assert result.stdout == f"{page}: 1 image, {page.stat().st_size / 1024:,.0f} KiB\n"
    assert "photo.png" in page.read_text(encoding="utf-8")


def test_images_that_cannot_be_read_are_named(image: Path, tmp_path: Path) -> None:
    page, missing = tmp_path / "report.html", tmp_path / "missing.png"
    result = run("tiny-digits", missing, image, "-o", page)
    assert result.exit_code == 1
    assert result.stderr == f"failed: {missing}: no such file\n"
    assert "1 image, 1 failed" in result.stdout
    assert "missing.png" in page.read_text(encoding="utf-8")


def test_without_any_image_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no image could be read"):
        run("tiny-digits", tmp_path / "missing.png", "-o", tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_exists_is_found_out_before_anything_is_loaded(image: Path) -> None:
    with pytest.raises(InputError, match="exists already"):
        run("no such encoder", image, "-o", image)
