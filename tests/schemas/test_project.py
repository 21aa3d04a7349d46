"""A team's settings: found upwards, checked, and laid over problems."""

from __future__ import annotations

from pathlib import Path

import pytest

from vision_composer.errors import Problem, SettingsError
from vision_composer.schemas.project import ProjectSettings, project_settings

FOUND = [Problem(code, "wrong") for code in ("VC002", "VC101", "VC104", "VC301", "VC302")]


def codes(settings: ProjectSettings) -> list[str]:
    return [problem.code for problem in settings.judged(FOUND)]


def test_without_a_file_all_counts(tmp_path: Path) -> None:
    settings = project_settings(tmp_path)
    assert settings == ProjectSettings()
    assert settings.judged(FOUND) == FOUND


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("vision-composer.toml", "ignore = ['VC301']\npreset_paths = ['presets']\n"),
        (
            "pyproject.toml",
            "[tool.ruff]\nignore = ['E501']\n[tool.vision-composer]\nignore = ['VC301']\n"
            "preset_paths = ['presets']\n",
        ),
    ],
)
def test_the_nearest_file_upwards_holds(file: str, text: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(text)
    (tmp_path / "presets").mkdir()
    deep = tmp_path / "configs/towers"
    deep.mkdir(parents=True)
    (tmp_path / "configs/pyproject.toml").write_text("[tool.ruff]\n")  # says nothing of configs
    settings = project_settings(deep)
    assert settings.ignore == ("VC301",)
    assert settings.preset_paths == (tmp_path / "presets",)
    assert settings.file == tmp_path / file
    (deep / "vision-composer.toml").write_text("")
    assert project_settings(deep).ignore == ()


def test_rules() -> None:
    assert codes(ProjectSettings(ignore=("VC3", "VC101"))) == ["VC002", "VC104"]
    assert codes(ProjectSettings(select=("VC1",))) == ["VC002", "VC101", "VC104"]  # unreadable: always
    assert codes(ProjectSettings(select=("VC1",), ignore=("VC104",))) == ["VC002", "VC101"]
    promoted = ProjectSettings(error=("VC302",)).judged(FOUND)
    assert [problem.warning for problem in promoted] == [False, False, False, True, False]


def test_a_call_is_laid_over_the_file() -> None:
    team = ProjectSettings(select=("VC1", "VC3"), ignore=("VC301",), error=("VC302",))
    laid = team.laid_under(select=["VC3"], ignore=["VC303"], error=["VC304"])
    assert laid == ProjectSettings(
        select=("VC3",), ignore=("VC301", "VC303"), error=("VC302", "VC304"), preset_paths=()
    )
    assert team.laid_under() == team


def test_what_is_wrong_in_a_call_is_not_said_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "vision-composer.toml").write_text("select = ['VC1']")
    team = project_settings(tmp_path)
    with pytest.raises(SettingsError, match=r"^select: there is no code 'XYZ'"):
        team.laid_under(select=["XYZ"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ignroe = []", ":1: ignroe: unknown key (did you mean 'ignore'?)"),
        ("# note\nignore = ['VC999']", ":2: ignore: there is no code 'VC999'"),
        ("ignore = ['VC30l']", "(did you mean 'VC30"),
        ("ignore = ['VC00']", "ignore: VC00 cannot be ignored: a text that cannot be read"),
        ("error = ['VC1']", "error: VC1 is an error already"),
        ("select = 'VC1'", "select: must be a list of strings"),
        ("select = [1]", "select: must be a list of strings"),
        ("select = ['']", "select: must be a list of strings"),
        ("preset_paths = ['nowhere']", "preset_paths: there is no folder"),
        ("ignore = [", "cannot be read as TOML"),
        ("ignore = ['\xff']".encode("latin-1"), "cannot be read as TOML"),
    ],
)
def test_wrong_settings_are_refused(text: str | bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "vision-composer.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingsError) as raised:
        project_settings(tmp_path)
    assert str(raised.value).startswith(str(file))
    assert said in str(raised.value)


def test_positions_in_a_shared_file(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[tool.ruff]\nignore = ['E501']\n\n[tool.vision-composer]\nignore = ['E501']\n"
    )
    with pytest.raises(SettingsError, match=r"pyproject\.toml:5: ignore: there is no code 'E501'"):
        project_settings(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool]\nvision-composer = 5\n")
    with pytest.raises(SettingsError, match="must be a table"):
        project_settings(tmp_path)
