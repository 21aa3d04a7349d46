"""Every code block of the README and the guides runs, or it is said here why not.

Python runs block after block, and prints what the comments say. YAML is a valid config, or a part of one.
Command lines are understood by the command line, and those of the quickstart run.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from support.guides import ROOT, Block, blocks, pages
from typer.testing import CliRunner

from vision_composer import load_config, plan
from vision_composer.cli import app
from vision_composer.parallel import CostModel
from vision_composer.schemas.project import project_settings

ELSEWHERE = {
    ("README.md", "yaml"): "tests/test_readme.py",
    ("docs/errors.md", ""): "tests/schemas/test_codes.py",
    ("docs/hydra.md", "console"): "tests/test_hydra.py",
    ("docs/hydra.md", "python"): "tests/test_hydra.py",
    ("docs/hydra.md", "yaml"): "tests/test_hydra.py",
    ("docs/plugins.md", "python"): "tests/plugins/test_example_plugin.py",
    ("docs/plugins.md", "toml"): "tests/plugins/test_example_plugin.py",
    ("docs/plugins.md", "yaml"): "tests/plugins/test_example_plugin.py",
}
"""Blocks of a page and a language -> the tests that run them; each names the page."""
NOT_RUN = {
    ("docs/distributed.md", "# run.py"): "composes LLaVA, whose weights would be downloaded, on every rank",
    (
        "docs/distributed.md",
        "model = DistributedDataParallel",
    ): "needs ranks: tests/composer/parallel has them",
    ("docs/distributed.md", "for block in encoder.blocks"): "needs ranks: tests/composer/parallel has them",
    (
        "docs/distributed.md",
        "from vision_composer import run_dp",
    ): "needs a module and pixels of the reader's",
    ("docs/jobs.md", "import numpy as np\nimport pyarrow"): "tests/composer/jobs/test_readers.py runs it",
    ("docs/jobs.md", "import numpy as np\nimport pandas"): "tests/composer/jobs/test_readers.py runs it",
    ("docs/jobs.md", "import duckdb"): "tests/composer/jobs/test_readers.py runs it",
    ("docs/jobs.md", "import polars"): "tests/composer/jobs/test_readers.py runs it",
    ("docs/jobs.md", "from datasets"): "tests/composer/jobs/test_readers.py runs it",
    (
        "docs/jobs.md",
        "import torch\nfrom vision_composer import read",
    ): "tests/composer/jobs/test_readers.py runs it",
    ("docs/jobs.md", "import pyarrow.parquet as pq\nfrom safetensors"): "needs vLLM",
}
"""A page and how a Python block of it begins -> why it does not run here."""
SLOW = ("docs/export.md",)
OPTIONAL = {"LoraConfig": "peft", "onnxruntime": "onnxruntime"}
"""What an example imports -> the optional package that has it."""
OTHER_PROGRAMS = {"python3", "source", "curl", "make", "git", "echo", "torchrun", "python", "pip", "grep"}
SHOWN = ("text", "{toctree}")
"""Languages of blocks that are no code: what a program prints, and the site's table of contents."""
LANGUAGES = {"python", "yaml", "toml", "json", "bash", "console", *SHOWN}
BLOCKS = [block for page in pages() for block in blocks(page)]


def of(*languages: str) -> list[Block]:
    return [
        block
        for block in BLOCKS
        if block.language in languages and (block.page, block.language) not in ELSEWHERE
    ]


def why_not(block: Block) -> str | None:
    reasons = [
        reason
        for (page, begins), reason in NOT_RUN.items()
        if block.page == page and block.text.startswith(begins)
    ]
    return reasons[0] if reasons else None


def test_no_block_is_left_out() -> None:
    unknown = [
        str(block)
        for block in BLOCKS
        if block.language not in LANGUAGES and (block.page, block.language) not in ELSEWHERE
    ]
    assert unknown == [], "give the block a language that is tested, or name its tests in ELSEWHERE"
    for (page, language), file in ELSEWHERE.items():
        assert any(block.page == page and block.language == language for block in BLOCKS), (page, language)
        assert Path(page).name in (ROOT / file).read_text(encoding="utf-8"), file
    for page, begins in NOT_RUN:
        assert any(block.page == page and block.text.startswith(begins) for block in BLOCKS), (page, begins)


# --- Python -------------------------------------------------------------------------------------------

PYTHON = sorted({block.page for block in of("python") if not why_not(block)})


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=pytest.mark.slow) if page in SLOW else page for page in PYTHON]
)
def test_examples_print_what_their_comments_say(
    page: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The examples of a page build on each other."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")  # what they write stays outside
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in of("python"):
        code = block.text
        if block.page != page or why_not(block):
            continue
        if any(f"import {name}" in code and find_spec(package) is None for name, package in OPTIONAL.items()):
            continue
        exec(compile(code, str(block), "exec"), names)
        printed = capsys.readouterr().out.splitlines()
        said = [line.partition("  # ")[2] for line in code.splitlines() if line.startswith("print(")]
        if not re.search(r"^ +print\(", code, flags=re.MULTILINE):  # a loop's prints are looked at below
            assert len(printed) == len(said), (str(block), printed)
        rest = iter(printed)
        for comment in said:
            assert any(comment.startswith(result) for result in rest), (str(block), comment, printed)


def test_the_loop_of_the_concepts_prints_what_stands_below_it() -> None:
    (code,) = (block.text for block in blocks("docs/concepts.md") if "for output in" in block.text)
    said = re.findall(
        r"# (\w+): ([\d,]+) .*?width (\d,\d+)", code.replace("of the same width", "of width 1,024")
    )
    for output, tokens, width in said:
        read = plan("llava-next-vicuna-7b", overrides=[f"output={output}"])
        assert (f"{read.num_tokens(640, 480):,}", f"{read.output_width:,}") == (tokens, width)
    assert len(said) == 3


# --- YAML and the like --------------------------------------------------------------------------------


@pytest.mark.parametrize("block", of("yaml"), ids=str)
def test_yaml_is_a_config_or_a_part_of_one_or_calls_commands_that_exist(block: Block) -> None:
    written = yaml.safe_load(block.text)
    if written is None:  # a comment for editors
        return
    commands = re.findall(r"run: (vision-composer .*)$", block.text, flags=re.MULTILINE)
    hooks = re.findall(r"- id: (vision-composer\S*)", block.text)
    if "on" in written or True in written or "repos" in written or commands:  # YAML reads `on` as true
        for command in commands:
            understood(command)
        offered = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
        assert set(hooks) <= {hook["id"] for hook in offered}
        assert commands or hooks
    elif "towers" in written or "encoder" in written:
        plan(written)
    else:
        load_config({"extends": "llava-1.5-7b", "connector": None, **written, "schema": 1})


@pytest.mark.parametrize("block", of("toml"), ids=str)
def test_settings_are_read(block: Block, tmp_path: Path) -> None:
    assert "vision-composer" in tomllib.loads(block.text)["tool"]
    (tmp_path / "pyproject.toml").write_text(block.text)
    (tmp_path / "presets").mkdir()
    assert project_settings(tmp_path).ignore


@pytest.mark.parametrize("block", of("json"), ids=str)
def test_a_file_of_costs_is_read(block: Block, tmp_path: Path) -> None:
    assert json.loads(block.text)["format"].startswith("vision-composer costs")
    (tmp_path / "costs.json").write_text(block.text)
    CostModel.load(tmp_path / "costs.json", plan("qwen2.5-vl-7b"))


# --- Commands -----------------------------------------------------------------------------------------


def command_lines(block: Block) -> list[str]:
    """A shell's lines; in a console, those behind a prompt."""
    lines = block.text.replace("\\\n", " ").splitlines()
    if block.language == "console":
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    return [line for line in lines if line.strip() and not line.startswith("#")]


def understood(line: str) -> None:
    """Fail if the program is not known, or vision-composer would refuse its options."""
    words = shlex.split(line, comments=True)
    if words[0] == "vision-composer":
        parsed(words[1 : words.index(">")] if ">" in words else words[1:])
    elif words[0] == "torchrun" and "vision_composer" in words:
        parsed(words[words.index("vision_composer") + 1 :])
    else:
        assert Path(words[0]).name in OTHER_PROGRAMS, f"{words[0]}: what does the reader need for it?"
        for script in (word for word in words if re.match(r"(scripts|examples)/", word)):
            assert (ROOT / script).exists(), script
        if words[0] == "pip":
            optional = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            for extras in re.findall(r"(?:\.|vision-composer)\[([\w,]+)\]", line):
                assert set(extras.split(",")) <= optional["optional-dependencies"].keys()


def parsed(arguments: list[str]) -> None:
    """Read a command's arguments and options without running it."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command, arguments = command.commands[arguments[0]], arguments[1:]
    # A file that the reader has is not here, so whether paths exist is not asked.
    command.make_context(command.name, [*arguments], resilient_parsing=True)
    known = {name for each in command.params for name in [*each.opts, *each.secondary_opts]} | {"--help"}
    given = [word.partition("=")[0] for word in arguments if re.match(r"--?[a-z]", word)]
    assert set(given) <= known, given


@pytest.mark.parametrize("block", of("bash", "console"), ids=str)
def test_commands_are_understood(block: Block) -> None:
    lines = command_lines(block)
    assert lines
    for line in lines:
        for part in line.split(" | "):
            understood(part)


def test_an_option_that_is_not_there_is_noticed() -> None:
    with pytest.raises(AssertionError):
        understood("vision-composer plan tiny-digits --image-sizes 2x2")
    with pytest.raises(KeyError):
        understood("vision-composer plans tiny-digits")
    with pytest.raises(AssertionError, match="brew"):
        understood("brew install torch")


def test_the_commands_of_the_quickstart_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but those that make an environment and the one that downloads LLaVA's weights."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    monkeypatch.chdir(tmp_path)
    ran = 0
    for block in blocks("docs/quickstart.md"):
        if block.language == "yaml":
            (name,) = re.findall(r"`([\w-]+\.yaml)`", block.before)
            Path(name).write_text(block.text)
        for line in command_lines(block) if block.language == "bash" else ():
            words = shlex.split(line)
            if words[0] == "vision-composer" and words[1:3] != ["encode", "llava-1.5-7b"]:
                result = CliRunner().invoke(app, words[1:])
                assert result.exit_code == 0, (line, result.output)
                ran += 1
    assert ran >= 7
