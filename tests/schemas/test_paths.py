"""Which strings are paths, what they mean, and what errors call them."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_composer.schemas.paths import (
    absolute_weights,
    config_file,
    display_name,
    is_hub_id,
    is_weights_path,
    looks_like_path,
    near_miss,
    source_fault,
)

PATHS = ["./a", "../a", "/a", "~/a", "~", ".", "..", "a.yaml", "a/b.yml", "a/b/c", "a\\b"]
NO_PATHS = ["a", "a/b", "clip/vit-large-patch14-336", "a.yaml.bak", "..a", "a.safetensors", ""]


@pytest.mark.parametrize("text", PATHS)
def test_what_can_only_be_a_path(text: str) -> None:
    assert looks_like_path(text)
    assert is_weights_path(text)


@pytest.mark.parametrize("text", NO_PATHS)
def test_what_may_be_a_name(text: str) -> None:
    assert not looks_like_path(text)
    assert is_weights_path(text) == (text == "a.safetensors")


def test_hub_ids() -> None:
    assert all(map(is_hub_id, ["a", "a/b", "a-b/c.d_e", "openai/clip-vit-base-patch32"]))
    assert not any(map(is_hub_id, ["", "/a", "a/", "a/b/c", "a b", "a/b\n", "a:b"]))


def test_the_config_that_a_path_means(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "saved").mkdir()
    assert config_file(tmp_path / "saved") is None
    (tmp_path / "saved" / "tower.yaml").touch()
    (tmp_path / "a.yaml").touch()
    assert config_file(tmp_path / "saved") == tmp_path / "saved" / "tower.yaml"
    assert config_file(tmp_path / "a.yaml") == tmp_path / "a.yaml"
    assert config_file(tmp_path / "b.yaml") is None
    monkeypatch.setenv("HOME", str(tmp_path))
    assert config_file("~/saved") == tmp_path / "saved" / "tower.yaml"


def test_what_errors_call_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert display_name(Path("a.yaml")) == "a.yaml"
    assert display_name(tmp_path / "here/b/a.yaml") == "b/a.yaml"
    assert display_name(tmp_path / "a.yaml") == str(tmp_path / "a.yaml")
    assert "\n" not in display_name(Path("a\nb.yaml"))
    assert "\x1b" not in display_name(Path("a\x1b[31m.yaml"))


def test_a_hub_id_that_may_be_a_mistyped_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models/tower").mkdir(parents=True)
    Path("empty").mkdir()
    said = near_miss("models/towr")
    assert said == " (the folder models is here, and holds no towr (did you mean 'tower'?))"
    for source in ("models/tower", "empty/a", "nowhere/a", "a", "mod\0els/a"):
        assert near_miss(source) == ""


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("a/b", None),
        ("./a b", None),
        ("a b", "'a b' is no hub id (organisation/name); a path starts with ./, ../, / or ~"),
        ("here it is", None),
        ("hf://a/b", "a URL is not read"),
        ("https://a.org/b.safetensors", "a URL is not read"),
    ],
)
def test_what_is_no_source(
    source: str, fault: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here it is").touch()
    found = source_fault(source)
    assert (found is None) if fault is None else (found or "").startswith(fault)


def test_paths_of_weights_count_from_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    folder = tmp_path / "configs"
    (folder / "org" / "there").mkdir(parents=True)
    for source, wanted in (
        ("./a", f"{folder}/a"),
        ("../a.safetensors", f"{tmp_path}/a.safetensors"),
        ("/a", "/a"),
        ("~/a", "/home/me/a"),
        ("org/there", f"{folder}/org/there"),  # a hub id but for the folder
        ("org/elsewhere", "org/elsewhere"),
        ("https://a.org/./b", "https://a.org/./b"),
        ("", ""),
    ):
        assert absolute_weights(source, folder) == wanted
    assert absolute_weights("./a", None) == f"{tmp_path}/a"
