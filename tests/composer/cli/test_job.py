"""``job`` says how far a job is, from its folder alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from support.jobs import SMALL, draw
from typer.testing import CliRunner

from vision_composer.cli.job import job
from vision_composer.errors import InputError
from vision_composer.jobs import encode_dataset
from vision_composer.jobs.progress import Progress


def lines(output: Path, *, status: int) -> list[str]:
    app = typer.Typer()
    app.command()(job)
    result = CliRunner().invoke(app, [str(output)], catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result.stdout.splitlines()


def test_before_during_and_after(tmp_path: Path) -> None:
    draw(tmp_path / "photos", 20)
    for number in (3, 4):
        (tmp_path / "photos" / f"{number:06}.jpg").write_bytes(b"")
    out = tmp_path / "out"

    def watch(progress: Progress, _: object) -> None:
        if progress.num_done == 20:
            *_, running = lines(out, status=1)
            assert running.startswith("running: ")
            assert " of 20 images; " in running
            assert "images/s" in running
            assert "would help" in running
            raise KeyboardInterrupt

    options = {"part_size": 5, "batch_size": 2, "workers": 0}
    with pytest.raises(KeyboardInterrupt):
        encode_dataset(SMALL, [tmp_path / "photos"], out, **options, on_progress=watch)
    first, *_, last = lines(out, status=1)
    assert " of 20 images done, " in first
    assert last == "not running; the command that began it goes on with it"
    encode_dataset(SMALL, [tmp_path / "photos"], out, **options, overwrite=True)
    assert lines(out, status=1) == [
        "20 of 20 images done, 2 of them failed; 4 of 4 parts complete",
        "  2 failed: the file is empty",
    ]
    draw(tmp_path / "photos", 2, first=3)
    encode_dataset(SMALL, [tmp_path / "photos"], out, **options, overwrite=True)
    assert lines(out, status=0) == ["20 of 20 images done, 0 of them failed; 4 of 4 parts complete"]


def test_a_folder_without_a_job(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not the output of a job"):
        lines(tmp_path, status=1)


def test_no_torch_is_loaded(tmp_path: Path) -> None:
    code = (
        "import sys, vision_composer.jobs.status, vision_composer.cli.job; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
