"""Configs of a git revision in a folder of their own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from vision_composer.cli.revisions import lay_out, repository_of
from vision_composer.errors import InputError


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    top = Path(tmp_path, "top").resolve()
    (top / "configs").mkdir(parents=True)
    (top / "README").write_text("no config")
    git(top, "init", "-q")
    git(top, "add", ".")
    git(top, "commit", "-qm", "no configs yet")
    (top / "configs/a.yaml").write_text("a: 1")
    (top / "configs/umlaut ä.yml").write_text("b: 1")
    git(top, "add", ".")
    git(top, "commit", "-qm", "two configs")
    return top


def test_yaml_files_of_a_revision_stand_where_they_stood(repository: Path, tmp_path: Path) -> None:
    assert repository_of(repository / "configs") == repository
    (repository / "configs/a.yaml").write_text("a: 2")
    lay_out(repository, "HEAD", tmp_path / "old")
    found = {str(path.relative_to(tmp_path / "old")) for path in (tmp_path / "old").rglob("*.y*ml")}
    assert found == {"configs/a.yaml", "configs/umlaut ä.yml"}
    assert (tmp_path / "old/configs/a.yaml").read_text() == "a: 1"
    assert not (tmp_path / "old/README").exists()


def test_links_stay_links_unless_they_lead_out(repository: Path, tmp_path: Path) -> None:
    for name, target in (("in", "configs/a.yaml"), ("out", "/etc/hostname"), ("up", "../a.yaml")):
        (repository / f"{name}.yaml").symlink_to(target)
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "links")
    assert lay_out(repository, "HEAD", tmp_path / "old") == {Path("out.yaml"), Path("up.yaml")}
    assert (tmp_path / "old/in.yaml").read_text() == "a: 1"
    assert [path.name for path in (tmp_path / "old").iterdir() if path.is_symlink()] == ["in.yaml"]


def test_a_revision_without_configs_is_an_empty_folder(repository: Path, tmp_path: Path) -> None:
    lay_out(repository, "HEAD~1", tmp_path / "old")
    assert not list((tmp_path / "old").rglob("*"))


@pytest.mark.parametrize(
    ("revision", "said"),
    [
        ("nowhere", "git knows no revision 'nowhere' here"),
        ("HEAD:README", "git knows no revision 'HEAD:README' here"),
        ("--output=x", "'--output=x' is not a revision"),
    ],
)
def test_what_is_no_revision(revision: str, said: str, repository: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        lay_out(repository, revision, tmp_path / "old")


def test_outside_of_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(InputError, match="not a git repository"):
        repository_of(tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="needs git, which is not installed"):
        repository_of(tmp_path)
