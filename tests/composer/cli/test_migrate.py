import os
import stat
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from vision_composer import load_config, validate
from vision_composer.cli import app
from vision_composer.errors import ConfigError

CURRENT = "schema: 1\nencoder:   {model_type: dinov2}\n"
OLD = "# mine\nencoder:   {model_type: dinov2}\n"
NEW = "# mine\nschema: 1\nencoder:   {model_type: dinov2}\n"


def run(*arguments, **options):
    return CliRunner().invoke(app, ["migrate", *map(str, arguments)], **options)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    for name, text in {
        "current.yaml": CURRENT,
        "deep/old.yml": OLD,
        "newer.yaml": "schema: 2\n",
        "other.yaml": "on: push\njobs: {}\n",
        "notes.txt": OLD,
    }.items():
        (tmp_path / name).write_bytes(text.encode())
    return tmp_path


def contents(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_folder(folder):
    before = contents(folder)
    result = run(".")
    assert result.exit_code == 1
    assert result.stdout == "rewrote deep/old.yml\n"
    assert "newer.yaml:1:9: schema: version 2 is newer than this vision-composer" in result.stderr
    assert "other.yaml:1:1: on: unknown key" in result.stderr
    assert result.stderr.endswith("4 files, 1 rewritten, 3 problems\n")
    assert contents(folder) == before | {folder / "deep/old.yml": NEW.encode()}
    again = run("deep", "current.yaml")
    assert (again.exit_code, again.stdout) == (0, "")
    assert again.stderr == "2 files, 0 rewritten, 0 problems\n"


def test_check_writes_nothing_and_needs_no_ruamel(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ruamel.yaml", None)
    before = contents(folder)
    result = run("--check", "current.yaml", "deep")
    assert (result.exit_code, result.stdout) == (1, "would rewrite deep/old.yml\n")
    assert result.stderr == "2 files, 1 to rewrite, 0 problems\n"
    assert run("--check", "current.yaml").exit_code == 0
    assert run("--check", "newer.yaml").exit_code == 1
    assert contents(folder) == before


def test_standard_input(folder):
    for text, result in (
        (OLD, NEW),
        (CURRENT, CURRENT),
        (OLD.replace("\n", "\r\n"), NEW.replace("\n", "\r\n")),
    ):
        ran = run("-", input=text.encode())
        assert (ran.exit_code, ran.stdout_bytes) == (0, result.encode())
    assert run("-", "--check", input=OLD).stdout == "would rewrite <stdin>\n"
    refused = run("-", input="schema: 2\n")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.startswith("<stdin>:1:9: ")


def test_links_and_permissions_stay(folder):
    old = folder / "deep/old.yml"
    old.chmod(0o640)
    (folder / "link.yaml").symlink_to("deep/old.yml")
    assert run("link.yaml").exit_code == 0
    assert (folder / "link.yaml").is_symlink()
    assert old.read_bytes() == NEW.encode()
    assert stat.S_IMODE(old.stat().st_mode) == 0o640
    assert sorted(os.listdir(folder / "deep")) == ["old.yml"]


def test_a_file_that_cannot_be_replaced_is_left_whole(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    result = run("deep")
    assert result.exit_code == 1
    assert result.stderr.startswith("deep/old.yml:1:1: cannot be written: No space left on device [VC001]")
    assert contents(folder / "deep") == {folder / "deep/old.yml": OLD.encode()}


def test_without_ruamel(folder):
    """As the program prints it, not as an exception."""
    code = "import sys; sys.modules['ruamel.yaml'] = None; from vision_composer.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "migrate", "."], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "pip install 'vision-composer[migrate]'" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("arguments", [["missing.yaml"], []])
def test_nothing_to_migrate(folder, arguments):
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("text", "current"),
    [
        ("extends: clip/vit-base-patch32\n", True),
        ("extends: ./current.yaml\n", True),
        ("extends: [./none.yaml, ./current.yaml]\n", True),
        ("extends: ./none.yaml\n", False),
        ("extends: ./none.yaml\nschema: 1\n", True),
        ("towers:\n  a: dinov2/small\n  b: dinov2/base\n", False),
    ],
)
def test_an_inherited_version_means_the_same_everywhere(folder, text, current):
    """To load_config, to validate, and to migrate, which brings what they refuse to where they take it."""
    (folder / "none.yaml").write_text(OLD)
    file = folder / "a.yaml"
    file.write_text(text)

    def taken():
        problems = [(each.code, each.path) for each in validate(file) if not each.warning]
        if not problems:
            load_config(file)
            return True
        assert problems == [("VC102", "schema")]
        with pytest.raises(ConfigError, match="schema: missing key"):
            load_config(file)
        return False

    assert taken() is current
    assert run("--check", "a.yaml").exit_code == (0 if current else 1)
    assert run("a.yaml").exit_code == 0
    assert (file.read_text() == text) is current
    assert taken()


def test_what_a_config_extends_must_be_there_and_below_the_root(folder):
    (folder / "deep/gone.yaml").write_text("extends: ./nowhere.yaml\n")
    assert "no such file: ./nowhere.yaml [VC007]" in run("deep/gone.yaml").stderr
    (folder / "deep/up.yaml").write_text("extends: ../current.yaml\n")
    assert "leads out of the folder" in run("--check", "deep/up.yaml").stderr
    assert run("--check", "deep/up.yaml", "--root", ".").exit_code == 0
