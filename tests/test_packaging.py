"""What ``pyproject.toml`` lists by hand agrees with the tree."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from vision_composer import __version__

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {
    "composer": "vision_composer",
    "schemas": "vision_composer.schemas",
    "presets": "vision_composer.presets",
}


def _setuptools() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


def _sources(folder: str) -> list[Path]:
    return [path for path in (ROOT / folder).rglob("*.py") if "__pycache__" not in path.parts]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_with_code_is_a_listed_package(folder: str) -> None:
    found = {path.parent.relative_to(ROOT / folder) for path in _sources(folder)}
    names = {".".join([FOLDERS[folder], *path.parts]) for path in found}
    others = tuple(
        f"{name}." for other, name in FOLDERS.items() if other != folder and name != "vision_composer"
    )
    listed = {name for name in _setuptools()["packages"] if f"{name}.".startswith(f"{FOLDERS[folder]}.")}
    assert names == {name for name in listed if folder != "composer" or not f"{name}.".startswith(others)}


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_other_file_is_package_data(folder: str) -> None:
    root = ROOT / folder
    patterns = _setuptools()["package-data"][FOLDERS[folder]]
    covered = {path for pattern in patterns for path in root.glob(pattern)}
    files = {path for path in root.rglob("*") if path.is_file() and path.suffix != ".py"}
    files = {path for path in files if path.parent.name != "__pycache__"}  # Python's and numba's
    assert files <= covered


@pytest.mark.parametrize("folder", [*FOLDERS, "tests", "scripts"])
def test_nobody_imports_the_folders_by_name(folder: str) -> None:
    found = []
    for path in _sources(folder):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module or ""]
            else:
                continue
            found += [f"{path}:{node.lineno}" for name in modules if name.split(".")[0] in FOLDERS]
    assert not found


def test_the_version_is_the_same_wherever_it_stands() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    log = re.findall(r"^## \[(.*?)\](?: - (.*))?$", changes, re.MULTILINE)
    assert log[0] == ("Unreleased", "")
    assert log[1] == (__version__, cited["date-released"])
    assert cited["version"] == __version__
    supported = f"{__version__.rpartition('.')[0]}.x is supported:"
    assert supported in (ROOT / "SECURITY.md").read_text(encoding="utf-8")


def test_forms_of_issues_ask_for_something() -> None:
    forms = [yaml.safe_load(path.read_text()) for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")]
    assert len(forms) == 2
    for form in forms:
        assert form.keys() == {"name", "description", "body"}
        assert any(part.get("validations", {}).get("required") for part in form["body"])
