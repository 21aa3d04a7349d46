"""What happens to every command when nothing takes what it prints."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from vision_composer.cli import app

FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", [["presets", "list"], ["schema"], ["plan", "llava-1.5-7b"]], ids=str)
def test_a_full_disk_is_an_error_without_a_traceback(command: list[str]) -> None:
    with FULL.open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "vision_composer", *command],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert result.returncode == 1
    assert "cannot write: No space left on device" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_current_directory_that_is_gone_is_said(tmp_path: Path) -> None:
    code = "import os; from vision_composer.cli import main; os.rmdir(os.getcwd()); main()"
    (tmp_path / "gone").mkdir()
    (tmp_path / "a.yaml").write_text("schema: 1\nencoder: {model_type: clip_vision_model}\n")
    result = subprocess.run(
        # -P: Python itself reads no module from where it stands, as it does not for the installed command.
        [sys.executable, "-P", "-c", code, "validate", str(tmp_path / "a.yaml")],
        cwd=tmp_path / "gone",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (
        1,
        "the current directory is gone; change to one that exists\n",
    )


def test_help_lists_every_command_below_what_it_is_for() -> None:
    text = CliRunner().invoke(app, ["--help"]).stdout
    _, _, listed = text.partition("Write and check configs:")
    rows = [line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line[2] != " "]
    assert sorted(rows) == sorted(get_command(app).commands)
    assert len(re.findall(r"^\w.*:$", listed, re.MULTILINE)) == 4


@pytest.mark.parametrize("name", sorted(get_command(app).commands))
def test_every_command_has_an_example_of_options_that_it_has(name: str) -> None:
    command = get_command(app).commands[name]
    words = command.epilog.removeprefix("Example: ").partition(" > ")[0].split()
    assert words[:2] == ["vision-composer", name]
    if not hasattr(command, "commands"):
        command.make_context(name, words[2:], resilient_parsing=True)
    text = CliRunner().invoke(app, [name, "--help"]).stdout
    assert command.epilog in " ".join(text.split())


def test_ctrl_c_ends_a_command_quietly() -> None:
    code = (
        "import signal, sys, time, vision_composer.checking as checking\n"
        "from vision_composer.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "def wait(*_, **__):\n"
        "    print('here', flush=True)\n"
        "    for _ in range(600): time.sleep(0.1)\n"  # a signal just before a sleep does not end it
        "checking.problems_of_files = wait\n"
        f"sys.argv[1:] = ['validate', {__file__!r}]; main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("", "")
    assert process.returncode == 130


def test_no_colours_without_a_terminal() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "vision_composer", "plan", "tiny-digits"], capture_output=True, check=True
    )
    assert b"\x1b" not in result.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(shell: str) -> None:
    variables = {"_VISION_COMPOSER_COMPLETE": f"complete_{shell}"}
    words = {"COMP_WORDS": "vision-composer va", "COMP_CWORD": "1"}
    words |= {"_TYPER_COMPLETE_ARGS": "vision-composer va", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    result = CliRunner().invoke(app, [], prog_name="vision-composer", env={**variables, **words})
    assert "validate" in result.output
    assert "encode" not in result.output
