"""`new-family`, from an empty folder to a plugin that is installed and whose own test passes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from vision_composer.cli import app
from vision_composer.errors import InputError


def new_family(*arguments: Any) -> Any:
    return CliRunner().invoke(app, ["new-family", *map(str, arguments)])


def python(*arguments: Any, path: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    paths = [str(path), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model_type", "tokens"),
    [("deit", 2 + 196), ("vit_msn", 1 + 196), ("beit", 1 + 196), ("data2vec-vision", 1 + 196)],
)
def test_a_plugin_that_is_installed_and_tested(model_type: str, tokens: int, tmp_path: Path) -> None:
    name = f"plug_{model_type.replace('-', '_')}"
    folder, site = tmp_path / "plugin", tmp_path / "site"
    result = new_family(name, "--from", model_type, "-o", folder)
    assert result.exit_code == 0, result.output
    assert f"pytest {folder}" in result.stderr
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert files == {
        "pyproject.toml",
        f"{name}/__init__.py",
        f"{name}/encoder.py",
        f"{name}.yaml",
        f"test_{name}.py",
    }

    options = ["--no-deps", "--no-index", "--no-build-isolation", "--quiet", "--target", site]
    installed = python("-m", "pip", "install", *options, folder, path=site, cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr
    tested = python("-m", "pytest", "-q", "-p", "no:cacheprovider", ".", path=site, cwd=folder)
    assert tested.returncode == 0, tested.stdout
    assert "2 passed" in tested.stdout

    planned = python("-m", "vision_composer", "plan", f"{name}.yaml", "--json", path=site, cwd=folder)
    assert f'"num_tokens": {tokens},' in planned.stdout, planned.stdout + planned.stderr
    code = "import sys, plug; assert not {'torch', 'transformers'} & set(sys.modules)".replace(
        "plug", f"{name}.encoder"
    )
    assert python("-c", code, path=site, cwd=folder).returncode == 0


def test_what_is_left_to_do_is_said_with_its_place(tmp_path: Path) -> None:
    result = new_family("plug_msn", "--from", "vit_msn", "-o", tmp_path)
    preset = tmp_path / "plug_msn.yaml"
    assert f"{preset}:7: TODO: name a hub id, a folder or a .safetensors file." in result.stdout
    assert "source: null" in preset.read_text().splitlines()[6]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "test_plug_deit.py").write_text("mine")
    result = new_family("plug_deit", "--from", "deit", "-o", tmp_path)
    assert isinstance(result.exception, InputError)
    assert "test_plug_deit.py is there already" in str(result.exception)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("test_plug_deit.py", "mine")]


def test_a_second_time_in_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # as `python -m vision_composer` does: the folder is no package
    assert new_family("plug_msn", "--from", "vit_msn").exit_code == 0
    result = new_family("plug_msn", "--from", "vit_msn")
    assert "plug_msn/pyproject.toml is there already, and nothing is overwritten" in str(result.exception)


@pytest.mark.parametrize(
    ("name", "model_type", "message"),
    [
        ("plug_deit", "diet", "no model type 'diet'; the closest are detr, deit, "),
        ("plug_llava", "llava", "name the encoder: --from clip_vision_model"),
        (
            "plug_bert",
            "bert",
            "does not take images of one size as a batch: BertModel is called with input_ids",
        ),
        (
            "plug_swin",
            "swin",
            "is no plain vision transformer, as far as SwinConfig tells: it has no hidden_size",
        ),
        ("plug_mae", "videomae", "VideoMAEModel cannot be run on pixel_values alone"),
        ("vit", "vit", "vit has a family already; for a variant of it, choose another name"),
        ("siglip_vision_model", "vit", "siglip_vision_model has a family already"),
        ("My-DeiT", "deit", "'My-DeiT' is no name of a package"),
        ("json", "deit", "a module called json is installed already"),
        ("torch", "deit", "a module called torch is installed already"),
    ],
)
def test_what_cannot_be_written(name: str, model_type: str, message: str, tmp_path: Path) -> None:
    result = new_family(name, "--from", model_type, "-o", tmp_path / "plugin")
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert list(tmp_path.iterdir()) == []
