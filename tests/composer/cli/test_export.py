"""``export`` writes a checked file, or says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from support.tiny import config
from typer.testing import CliRunner

from vision_composer.cli.export import export
from vision_composer.errors import ExportError
from vision_composer.export.exporting import Exported
from vision_composer.export.gguf_file import read
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
    def exported(encoder: Any, path: Path, format: str, *, dtype: str | None) -> Exported:
        assert (format, dtype) == ("pt2", None)
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


def test_a_gguf_file_has_the_connector(tmp_path: Path) -> None:
    path, out = tmp_path / "tower.yaml", tmp_path / "mmproj.gguf"
    keys = {"connector": {"type": "llava", "hidden_size": 24}, "feature_select_strategy": "default"}
    path.write_text(inline(config("clip_vision_model", **keys)))
    assert run(str(path), "--format", "gguf", "--dtype", "bf16", "-o", str(out)) == f"{out}, 0.1 MiB\n"
    assert read(out)[1]["mm.0.weight"].dtype == torch.bfloat16
