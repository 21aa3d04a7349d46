"""``diff``: two configs, two folders, and the files of a git revision beside those of now."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from vision_composer.cli import app

CLIP = "schema: 1\nencoder: {model_type: clip_vision_model}\nselect_layers: [%s]\nweights: {source: ./%s}\n"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["diff", *map(str, arguments)])


def git(*arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three configs in a commit called ``before``, and one changed, one gone and one new since."""
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    configs = tmp_path / "configs"
    (configs / "deep").mkdir(parents=True)
    (configs / "base.yaml").write_text(CLIP % ("-1", "w"))
    (configs / "deep/same.yml").write_text(CLIP % ("-3", "w"))
    (configs / "gone.yaml").write_text(CLIP % ("-1", "w"))
    (configs / "above.yaml").write_text("extends: ./base.yaml\nname: above\n")
    git("add", ".")
    git("commit", "-qm", "one")
    git("tag", "before")
    (configs / "base.yaml").write_text(CLIP % ("-2", "w"))
    (configs / "gone.yaml").unlink()
    (configs / "new.yaml").write_text(CLIP % ("-1", "w"))
    return tmp_path


def test_since_a_revision(repository: Path) -> None:
    result = run("--git", "before")
    assert result.exit_code == 0, result.output
    text = result.stdout
    # A file that extends a changed one has changed, too; the paths of weights have not.
    for name in ("above", "base"):
        assert f"configs/{name}.yaml:\n  select_layers: [-1] -> [-2]\n  plan:\n" in text
    assert "configs/gone.yaml: removed\n" in text
    assert "configs/new.yaml: added\n" in text
    assert "same" not in text
    assert "weights" not in text


def test_from_a_folder_below_and_of_one_file(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository / "configs")
    assert run("--git", "HEAD", "new.yaml").stdout == "new.yaml: added\n"
    assert run("--git", "HEAD", "gone.yaml").stdout == "gone.yaml: removed\n"
    assert run("--git", "HEAD", "deep").stdout == ""


def test_a_link_out_of_the_repository_is_passed_over(repository: Path) -> None:
    (repository / "configs/link.yaml").symlink_to("/etc/hostname")
    git("add", ".")
    git("commit", "-qm", "two")
    result = run("--git", "HEAD")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert "configs/link.yaml: passed over, since it is a link" in result.stderr


def test_a_broken_file_is_named_and_the_others_compared(repository: Path) -> None:
    (repository / "configs/new.yaml").write_text("a: [\n")
    git("add", ".")
    git("commit", "-qm", "two")
    (repository / "configs/new.yaml").write_text(CLIP % ("-1", "w"))
    (repository / "configs/deep/same.yml").write_text("b: [\n")
    text = run("--git", "HEAD", "configs").stdout
    assert "configs/new.yaml:\n  cannot be compared: HEAD:configs/new.yaml:2:1: " in text
    assert "configs/deep/same.yml:\n  cannot be compared: " in text


@pytest.mark.parametrize(
    "arguments", [["--git", "before", ".."], ["--git", "before", "nothing"], ["a.yaml"], []]
)
def test_wrong_usage(arguments: list[str], repository: Path) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_two_folders(repository: Path) -> None:
    other = repository / "other"
    (other / "deep").mkdir(parents=True)
    (other / "base.yaml").write_text(CLIP % ("-5", "w"))
    (other / "deep/same.yml").write_text(CLIP % ("-3", "w"))
    text = run("configs", "other").stdout
    assert "base.yaml:\n  select_layers: [-2] -> [-5]\n" in text
    assert "new.yaml: removed\n" in text
    assert "same" not in text


def test_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    encoder = "encoder: {model_type: dinov2, image_size: 98, patch_size: 14, hidden_size: 112, %s}\n"
    (tmp_path / "main.yaml").write_text(
        f"schema: 1\n{encoder % 'num_attention_heads: 4'}select_layers: [-2, -3]\n"
    )
    (tmp_path / "spelled.yaml").write_text("extends: ./main.yaml\nencoder: {qkv_bias: true}\n")
    assert run("main.yaml", "spelled.yaml").stdout == ""  # a default, spelled out
    (tmp_path / "other.yaml").write_text(
        "extends: ./main.yaml\nselect_layers: [-2]\nweights: {dtype: float16}\n"
    )
    lines = run("main.yaml", "other.yaml").stdout.splitlines()
    assert lines[:4] == [
        "weights.dtype: float32 -> float16",
        "select_layers: [-2, -3] -> [-2]",
        "plan:",
        "  width: 224 -> 112",
    ]
    assert lines[4].startswith("  bytes: ")


def test_two_families_have_keys_that_only_one_has() -> None:
    lines = run("clip-vit-base-patch32", "dinov2-base").stdout.splitlines()
    assert "encoder.projection_dim: 512 -> (absent)" in lines
    assert "encoder.qkv_bias: (absent) -> true" in lines
