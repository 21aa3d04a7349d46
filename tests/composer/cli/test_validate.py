import json
import os
import re
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from vision_composer.cli import app

CLIP = "schema: 1\nencoder:\n  model_type: clip_vision_model\n"
RANDOM = "good.yaml:1:1: warning: weights: no source"


def run(*arguments):
    return CliRunner().invoke(app, ["validate", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "good.yaml": CLIP,
        "bad.yaml": CLIP + "  hiden_size: 5\nname: 5\n",
        "deep/er/worse.yml": "a: [\n",
        ".hidden/bad.yaml": "a: [\n",
        "notes.txt": "a: [\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_good_files(folder):
    result = run("good.yaml", "good.yaml")
    assert (result.exit_code, result.stderr) == (0, "1 file, 0 problems, 1 warning\n")
    assert result.stdout.startswith(RANDOM)


def test_every_problem_of_every_file(folder):
    result = run(".")
    assert result.exit_code == 1
    assert result.stderr == "3 files, 3 problems, 1 warning\n"
    assert result.stdout.partition(RANDOM)[0] == (
        "bad.yaml:4:3: encoder.hiden_size: unknown key (did you mean 'hidden_size'?) [VC101]\n"
        "  4 |   hiden_size: 5\n"
        "    |   ^\n"
        "bad.yaml:5:7: name: expected a string, got the number 5; quote it: '5' [VC103]\n"
        "  5 | name: 5\n"
        "    |       ^\n"
        "deep/er/worse.yml:2:1: did not find expected node content while parsing a flow node; "
        "a value or the closing bracket is missing [VC002]\n"
        "  2 | \n"
        "    | ^\n"
    )


def test_json(folder):
    result = run("bad.yaml", "--format", "json")
    assert result.exit_code == 1
    problems = json.loads(result.stdout)
    assert problems[0] == {
        "code": "VC101",
        "level": "error",
        "message": "unknown key (did you mean 'hidden_size'?)",
        "path": "encoder.hiden_size",
        "file": "bad.yaml",
        "line": 4,
        "column": 3,
    }
    assert len(problems) == 2
    (warning,) = json.loads(run("good.yaml", "--format", "json").stdout)
    assert (warning["code"], warning["level"]) == ("VC301", "warning")


def test_github_annotations(folder):
    (folder / "a,b:c%.yaml").write_text(CLIP + "summary: [100%]\n")
    result = run("a,b:c%.yaml", "bad.yaml", "--format", "github")
    assert result.stdout.splitlines() == [
        "::error file=a%2Cb%3Ac%25.yaml,line=4,col=10,title=VC103::summary: expected a string, got a list",
        "::error file=bad.yaml,line=4,col=3,title=VC101::"
        "encoder.hiden_size: unknown key (did you mean 'hidden_size'?)",
        "::error file=bad.yaml,line=5,col=7,title=VC103::"
        "name: expected a string, got the number 5; quote it: '5'",
    ]


def test_a_problem_that_files_share_is_counted_once(folder):
    for name in ("one", "two"):
        (folder / f"{name}.yaml").write_text("extends: ./bad.yaml\n")
    result = run("bad.yaml", "one.yaml", "two.yaml", folder / "bad.yaml")
    assert result.stderr.startswith("4 files, ")
    assert "problems" in result.stderr
    assert result.stdout.count("hiden_size: unknown key") == 1
    assert run("one.yaml").stdout == run("bad.yaml").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.yaml"], "no such file or folder: 'missing.yaml'"),
        (["good.yaml", "missing"], "no such file or folder: 'missing'"),
        (["empty"], "no .yaml or .yml file in 'empty'"),
        ([], "say which files or folders to check"),
        (["good.yaml", "--format", "xml"], "xml"),
    ],
)
def test_usage_errors(folder, arguments, message):
    (folder / "empty").mkdir()
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr.replace("\n", " ")
    assert result.stdout == ""


def test_a_folder_that_cannot_be_read_is_not_passed_over(folder, monkeypatch):
    scandir = os.scandir

    def refusing(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    result = run(".")
    assert result.exit_code == 2
    assert "the folder './deep' cannot be read" in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize("format_", ["text", "github"])
def test_a_name_of_several_lines_stays_on_one(folder, format_):
    """A line of its own could be a command to whatever reads the log."""
    (folder / "a\n::error::forged.yaml").write_text(CLIP + "  hiden_size: 5\n")
    result = run(".", "--format", format_)
    assert not any(line.startswith("::error::forged") for line in result.stdout.splitlines())
    assert "a\\x0a" in result.stdout


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read(folder):
    (folder / "good.yaml").chmod(0)
    assert "[VC001]" in run("good.yaml").stdout


def test_the_shipped_presets_are_valid():
    """Strictly, under this repository's own settings, and under none with the random weights left."""
    presets = str(resources.files("vision_composer.presets"))
    code = "from vision_composer.cli import main; main()"
    root = Path(__file__).parents[3]
    for folder, status, warned in ((root, 0, set()), (Path(root.anchor), 1, {"VC301"})):
        result = subprocess.run(
            [sys.executable, "-c", code, "validate", "--strict", presets],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == status
        assert " files, 0 problems" in result.stderr
        # Some have no weights, because nobody hosts them in a form that can be read.
        assert set(re.findall(r"\[(VC\d+)\]", result.stdout)) == warned


WARNED = CLIP + "weights: {source: org/model}\n"


def test_warnings_fail_only_when_strict(folder):
    (folder / "warned.yaml").write_text(WARNED)
    result = run("warned.yaml")
    assert result.exit_code == 0
    assert result.stderr == "1 file, 0 problems, 1 warning\n"
    assert result.stdout.startswith("warned.yaml:4:19: warning: weights.source: ")
    assert run("warned.yaml", "--strict").exit_code == 1
    assert run("warned.yaml", "--format", "github").stdout.startswith("::warning file=warned.yaml,line=4,")
    (folder / "pinned.yaml").write_text(CLIP + f"weights: {{source: org/model, revision: {'0' * 40}}}\n")
    assert run("pinned.yaml", "--strict").exit_code == 0


def test_standard_input(folder):
    def validate(text, *arguments):
        return CliRunner().invoke(app, ["validate", "-", *arguments], input=text)

    assert validate(WARNED).exit_code == 0
    result = validate(CLIP + "name: 5\n")
    assert result.exit_code == 1
    assert result.stdout.startswith("<stdin>:4:7: name: expected a string")
    assert validate("extends: ./good.yaml\n").exit_code == 0
    assert "VC001" in validate(b"a: \xff").stdout
    assert "VC006" in validate(b"#" * (1 << 21)).stdout


def test_sarif(folder):
    (folder / "with space.yaml").write_text(WARNED)
    result = run("bad.yaml", "with space.yaml", "--format", "sarif")
    log = json.loads(result.stdout)
    assert log["version"] == "2.1.0"
    (described,) = log["runs"]
    rules = [rule["id"] for rule in described["tool"]["driver"]["rules"]]
    assert rules == ["VC101", "VC103", "VC302"]
    results = described["results"]
    assert [(each["ruleId"], each["level"]) for each in results] == [
        ("VC101", "error"),
        ("VC103", "error"),
        ("VC302", "warning"),
    ]
    assert all(rules[each["ruleIndex"]] == each["ruleId"] and each["message"]["text"] for each in results)
    place = results[2]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "with%20space.yaml"
    assert place["region"] == {"startLine": 4, "startColumn": 19}
    clean = json.loads(run("good.yaml", "--format", "sarif").stdout)
    assert [each["ruleId"] for each in clean["runs"][0]["results"]] == ["VC301"]


def test_root(folder):
    (folder / "deep" / "main.yaml").write_text("extends: ../good.yaml\n")
    assert "leads out of the folder" in run("deep/main.yaml").stdout
    assert run("deep/main.yaml", "--root", ".").exit_code == 0


def test_the_pre_commit_hook_runs_a_command_that_is_there():
    root = Path(__file__).parents[3]
    (hook,) = yaml.safe_load((root / ".pre-commit-hooks.yaml").read_text())
    program, command = hook["entry"].split()
    assert (root / program).exists()
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_rules_of_a_team_and_of_a_call(folder):
    (folder / "pyproject.toml").write_text("[tool.vision-composer]\nignore = ['VC301']\nerror = ['VC302']\n")
    result = run("good.yaml")
    assert (result.exit_code, result.stdout) == (0, "")
    (folder / "hub.yaml").write_text(CLIP + "weights: {source: openai/clip-vit-base-patch32}\n")
    result = run("hub.yaml")
    assert result.exit_code == 1
    assert result.stdout.startswith(
        "hub.yaml:4:19: weights.source: openai/clip-vit-base-patch32 has no revision"
    )
    assert run("hub.yaml", "--ignore", "VC302").exit_code == 0
    assert run("good.yaml", "--select", "VC301").exit_code == 0  # the team ignores it
    result = run("bad.yaml", "--select", "VC103")
    assert [line for line in result.stdout.splitlines() if "VC" in line] == [
        "bad.yaml:5:7: name: expected a string, got the number 5; quote it: '5' [VC103]"
    ]


@pytest.mark.parametrize("form", ["json", "github", "sarif"])
def test_a_warning_that_a_team_makes_an_error_is_one_in_every_form(folder, form):
    result = run("good.yaml", "--error", "VC3", "--format", form)
    assert result.exit_code == 1
    assert "error" in result.stdout
    assert "warning" not in result.stdout.replace("Warning:", "")


def test_show_settings(folder):
    assert "# no vision-composer.toml" in run("--show-settings").stdout
    (folder / "vision-composer.toml").write_text("ignore = ['VC301']\n")
    (folder / "deep/er").mkdir(exist_ok=True)
    result = run("--show-settings", "--error", "VC302")
    assert result.stdout.splitlines() == [
        f"# {folder}/vision-composer.toml",
        "select = []",
        'ignore = ["VC301"]',
        'error = ["VC302"]',
        "preset_paths = []",
    ]


@pytest.mark.parametrize("option", ["--select", "--ignore", "--error"])
def test_unknown_codes_are_refused(folder, option):
    result = run("good.yaml", option, "VC310")
    assert result.exit_code == 2
    assert "there is no code 'VC310'" in result.stderr.replace("\n", " ")
    (folder / "vision-composer.toml").write_text(f"{option[2:]} = ['VC310']\n")
    result = run("good.yaml")
    assert result.exit_code == 2
    assert "vision-composer.toml:1" in result.stderr.replace("\n", "")


BAD = Path(__file__).parents[2] / "schemas/bad"
"""Files with the problems that each has beside it, at their positions."""


@pytest.mark.parametrize(
    ("settings", "counts"),
    [
        ("ignore = ['VC2', 'VC101']", lambda code: code[:3] != "VC2" and code != "VC101"),
        ("select = ['VC1']", lambda code: code[:3] in ("VC0", "VC1")),  # what cannot be read always counts
        ("select = ['VC1']\nignore = ['VC103']", lambda code: code[:3] in ("VC0", "VC1") and code != "VC103"),
    ],
    ids=["ignore", "select", "both"],
)
def test_the_right_ones_of_many_bad_files_fail_under_a_teams_settings(
    tmp_path, monkeypatch, settings, counts
):
    shutil.copytree(BAD, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vision-composer.toml").write_text(settings)
    said = re.compile(r"^([\w/]+\.yaml):(\d+):(\d+): .*\[(VC\d+)\]$", re.MULTILINE)
    # The last lines of what is capped stand for many problems; overrides are no matter of validate.
    files = [file for file in sorted(BAD.glob("*.yaml")) if "override" not in file.stem]
    expected = {
        (file, int(line), int(column), code)
        for path in files
        for file, line, column, code in said.findall(path.with_suffix(".txt").read_text())
        if counts(code)
    }
    assert len({file for file, *_ in expected}) >= 40
    result = run(*[path.name for path in files], "--format", "json")
    assert result.exit_code == 1
    problems = [
        each for each in json.loads(result.stdout) if each["level"] == "error" and each["code"] < "VC3"
    ]
    assert {(each["file"], each["line"], each["column"], each["code"]) for each in problems} == expected
