"""``lock`` against a cache laid out as the hub's, and folders; ``compose`` holds to what it wrote."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from click.testing import Result
from support import tiny
from typer.testing import CliRunner

from vision_composer import compose, load_config
from vision_composer.cli import app
from vision_composer.errors import LockError

ENCODER = tiny.ENCODERS["siglip_vision_model"]
FIRST, SECOND = "1" * 40, "2" * 40


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of configs, and an offline hub whose cache has two commits of one repository."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub/models--some--siglip"
    for commit in (FIRST, SECOND):
        tiny.reference(ENCODER).save_pretrained(repository / "snapshots" / commit)
    (repository / "snapshots" / SECOND / "config.json").write_text(
        (repository / "snapshots" / FIRST / "config.json").read_text() + "\n"
    )
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(FIRST)
    shutil.copytree(repository / "snapshots" / FIRST, tmp_path / "configs/local")
    monkeypatch.chdir(tmp_path / "configs")
    config("hub.yaml", source="some/siglip")
    config("local.yaml", source="./local")
    return tmp_path / "configs"


def config(name: str, **weights: Any) -> None:
    Path(name).write_text(yaml.safe_dump({"schema": 1, "encoder": ENCODER, "weights": weights}))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["lock", *arguments])


def locked() -> list[dict[str, Any]]:
    """What the file says, with the files by name."""
    sources = yaml.safe_load(Path("vision-composer.lock").read_text())["sources"]
    return [{**each, "files": {file.pop("name"): file for file in each["files"]}} for each in sources]


def move(folder: Path, to: str) -> None:
    (folder.parent / "hub/models--some--siglip/refs/main").write_text(to)


def held(name: str) -> str:
    with pytest.raises(LockError) as caught:
        compose(name)
    return str(caught.value)


def test_commits_and_hashes_are_those_of_the_sources(folder: Path) -> None:
    result = run(".")
    assert (result.exit_code, result.stdout) == (0, "vision-composer.lock: 2 sources, 4 files\n")
    first, second = locked()
    assert [first["source"], second["source"]] == ["local", "some/siglip"]
    assert [first["revision"], second["revision"], second["asked"]] == [None, FIRST, None]
    weights = (folder / "local/model.safetensors").read_bytes()
    expected = {"sha256": hashlib.sha256(weights).hexdigest(), "size": len(weights)}
    assert first["files"]["model.safetensors"] == second["files"]["model.safetensors"] == expected
    written = Path("vision-composer.lock").read_bytes()
    assert run("local.yaml", "hub.yaml").exit_code == 0
    assert Path("vision-composer.lock").read_bytes() == written


def test_compose_stays_at_the_commit_that_is_locked(folder: Path) -> None:
    run("hub.yaml")
    move(folder, SECOND)
    assert compose("hub.yaml").config.weights.revision == FIRST
    assert compose(load_config("hub.yaml"), overrides=["name=x"]).config.weights.revision == FIRST
    assert run("--check", "hub.yaml").exit_code == 0
    run("hub.yaml")
    assert compose("hub.yaml").config.weights.revision == SECOND


@pytest.mark.parametrize("name", ["hub", "local"])
@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_changed_file_is_refused(folder: Path, name: str, file: str) -> None:
    run(".")
    places = {"local": folder / "local", "hub": folder.parent / f"hub/models--some--siglip/snapshots/{FIRST}"}
    content = (places[name] / file).read_bytes()
    (places[name] / file).write_bytes(content + b" ")
    for said in (held(f"{name}.yaml"), run("--check", f"{name}.yaml").stderr):
        assert f": {file}: expected sha256 {hashlib.sha256(content).hexdigest()}" in said
        assert f"found sha256 {hashlib.sha256(content + b' ').hexdigest()}" in said
        assert f"renew the lock: vision-composer lock {name}.yaml" in said
    assert run("--check", f"{name}.yaml").exit_code == 1
    (places[name] / file).unlink()
    if name == "local" or file == "config.json":  # of the hub's cache, the weights are said to be missing
        assert "found no such file" in held(f"{name}.yaml")


def test_a_file_that_came_is_refused(folder: Path) -> None:
    run("local.yaml")
    (folder / "local/preprocessor_config.json").write_text("{}")
    assert "preprocessor_config.json: expected no such file" in held("local.yaml")
    assert run("--check", "local.yaml").exit_code == 1


def test_another_revision_than_the_locked_one_is_refused(folder: Path) -> None:
    run("hub.yaml")
    config("hub.yaml", source="some/siglip", revision=SECOND)
    said = held("hub.yaml")
    assert f"at revision unpinned, and the config asks for some/siglip at revision {SECOND}" in said
    assert run("--check", "hub.yaml").exit_code == 1
    config("other.yaml", source="some/other")
    assert "does not hold some/other" in held("other.yaml")


def test_what_cannot_be_locked_is_said(folder: Path) -> None:
    def said(**weights: Any) -> str:
        config("a.yaml", **weights)
        result = run("a.yaml")
        assert isinstance(result.exception, LockError)
        assert not Path("vision-composer.lock").exists()
        return str(result.exception)

    assert said(source=None) == "nothing to lock: no config here names a source of weights"
    assert said(source="./gone") == f"{folder / 'gone'}: no such file or folder"
    assert "some/gone: not in the local cache, and the hub cannot be reached" in said(source="some/gone")
    assert "not in the local cache at revision v2" in said(source="some/siglip", revision="v2")
    (folder / "empty").mkdir()
    assert "nothing to lock: no safetensors file" in said(source="./empty")
    assert run("gone.yaml").exit_code == 2
    assert run("--check", "hub.yaml").exit_code == 1


def test_the_hub_is_asked_when_it_can_be_reached(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    snapshot = folder.parent / f"hub/models--some--siglip/snapshots/{SECOND}"
    large = SimpleNamespace(rfilename="model.safetensors", size=7, lfs=SimpleNamespace(sha256="a" * 64))
    small = SimpleNamespace(rfilename="config.json", size=3, lfs=None)
    other = SimpleNamespace(rfilename="README.md", size=3, lfs=None)

    def asked(_: object, repo: str, **options: Any) -> SimpleNamespace:
        assert (repo, options["revision"], options["files_metadata"]) == ("some/siglip", None, True)
        return SimpleNamespace(sha=SECOND, siblings=[large, small, other])

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", asked)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda _, name, **__: str(snapshot / name))
    assert run("hub.yaml").exit_code == 0
    (entry,) = locked()
    assert entry["revision"] == SECOND
    assert entry["files"]["model.safetensors"] == {"sha256": "a" * 64, "size": 7}
    assert set(entry["files"]) == {"model.safetensors", "config.json"}


def test_adapters_connectors_and_towers_are_locked_too(folder: Path) -> None:
    tower = {"encoder": ENCODER, "weights": {"source": "./local"}}
    values = {"schema": 1, "towers": {"a": tower, "b": tower}, "weights": {"source": "some/siglip"}}
    Path("hub.yaml").unlink()
    Path("local.yaml").write_text(yaml.safe_dump({**values, "project": {"a": {"width": 4}}}))
    assert run("local.yaml").stdout == "vision-composer.lock: 2 sources, 4 files\n"
    config("local.yaml", source="./local", adapter="some/siglip", adapter_revision="main")
    assert run("local.yaml").exit_code == 0
    assert [each["asked"] for each in locked()] == [None, None, "main"]
