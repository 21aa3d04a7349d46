"""``vision-composer demo`` runs the demo into the folder that it is given."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from vision_composer.cli import app
from vision_composer.demo import run


@pytest.mark.parametrize(
    ("arguments", "folder"), [([], "demo-output"), (["-o", "a/b"], "a/b"), (["--output", "c"], "c")]
)
def test_the_folder(arguments: list[str], folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def report(output: Path, console: Console) -> None:
        console.print(f"into {output}")

    monkeypatch.setattr(run, "run_demo", report)
    result = CliRunner().invoke(app, ["demo", *arguments])
    assert result.exit_code == 0, result.output
    assert result.output == f"into {folder}\n"
