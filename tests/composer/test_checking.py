"""``validate`` in Python: the problems of files, as a team's tests want them."""

from __future__ import annotations

from pathlib import Path

import pytest

import vision_composer
from vision_composer.errors import InputError, SettingsError

CLIP = "schema: 1\nencoder:\n  model_type: clip_vision_model\n"
PINNED = f"{CLIP}weights: {{source: openai/clip-vit-base-patch32, revision: '{'0' * 40}'}}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    for name, text in {
        "good": PINNED,
        "random": CLIP,
        "key": f"{CLIP}nmae: a\n",
        "below": "extends: ./key.yaml\n",
    }.items():
        (tmp_path / f"configs/{name}.yaml").write_text(text)
    return tmp_path


def found(*arguments: object, **options: object) -> list[str]:
    problems = vision_composer.validate(*arguments, **options)  # type: ignore[arg-type]  # as tests pass them
    return [f"{problem.span}: {problem.code}" for problem in problems]


def test_it_returns_problems_and_warnings_of_all_files(folder: Path) -> None:
    # below.yaml has the problem of key.yaml, which is reported once.
    assert found("configs") == ["configs/key.yaml:4:1: VC101", "configs/random.yaml:1:1: VC301"]
    assert found(["configs/good.yaml"]) == []
    assert found(Path("configs/random.yaml"), ignore=["VC301"]) == []
    (problem,) = vision_composer.validate("configs/random.yaml", error=["VC301"])
    assert not problem.warning


def test_a_teams_settings_hold(folder: Path) -> None:
    (folder / "pyproject.toml").write_text("[tool.vision-composer]\nselect = ['VC3']\n")
    assert found("configs") == ["configs/random.yaml:1:1: VC301"]
    assert found("configs", select=["VC101"]) == ["configs/key.yaml:4:1: VC101"]


def test_what_cannot_be_checked_is_an_error(folder: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder: 'confgis'"):
        vision_composer.validate("confgis")
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match=r"no \.yaml or \.yml file in 'empty'"):
        vision_composer.validate("empty")
    with pytest.raises(SettingsError, match="there is no code 'VC4'"):
        vision_composer.validate("configs", ignore=["VC4"])
