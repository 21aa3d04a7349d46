"""``export`` writes a checked file, or says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from support.tiny import config
from typer.testing import CliRunner

from vision_composer.cli.export import export
from vision_composer.errors import ExportError
from vision_composer.export.exporting import Exported
from vision_composer.schemas.yaml.dump import inline


def run(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(export)
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def tower(tmp_path: Path) -> str:
    path = tmp_path / "tower.yaml"
    keys = {"select_layers": [0], "post_norm": "none", "compile": True, "parallel": {"mode": "data"}}
    path.write_text(inline(config("clip_vision_model", **keys)))
    return str(path)


def test_how_it_runs_is_left_out_of_the_file(
    tower: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exported(encoder: Any, path: Path, format: str) -> Exported:
        assert format == "pt2"
        assert encoder.config.compile is False
        assert encoder.config.parallel == "none"
        path.write_bytes(bytes(2**20))
        return Exported(path, {"3 images of 32, 32": 1.5e-7})

    monkeypatch.setattr("vision_composer.export.exporting.export_encoder", exported)
    out = tmp_path / "tower.pt2"
    assert run(tower, "-o", str(out)).splitlines() == [
        "3 images of 32, 32: within 1.5e-07 of the largest feature",
        f"{out}, 1.0 MiB",
    ]


def test_a_refusal_is_the_packages_error(tower: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"ends in .pt2"):
        run(tower, "-o", str(tmp_path / "tower.bin"))
