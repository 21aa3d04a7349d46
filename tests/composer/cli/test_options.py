"""What the commands have in common, and what the guide says of them."""

import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from vision_composer.cli import app

GUIDE = (Path(__file__).parents[3] / "docs/cli.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app).commands
READS_CONFIGS = {"config", "a", "paths"}


def options(name):
    return {option for parameter in COMMANDS[name].params for option in parameter.opts}


def reading(*, one):
    """The commands that read configs; with ``one``, those that are about a single config."""
    arguments = {
        name: {parameter.name for parameter in command.params if parameter.required or not one}
        for name, command in COMMANDS.items()
    }
    wanted = {"config"} if one else READS_CONFIGS
    return [name for name, found in arguments.items() if found & wanted and name != "migrate"]


@pytest.mark.parametrize("name", reading(one=False))
def test_every_command_that_reads_configs_takes_root_and_plugin(name):
    assert {"--root", "--plugin"} <= options(name)


@pytest.mark.parametrize("name", reading(one=True))
def test_every_command_on_one_config_takes_overrides(name):
    assert {"--set", "-s"} <= options(name)


def test_the_guide_names_every_command():
    rows = re.findall(r"^\| `([\w-]+)", GUIDE, flags=re.MULTILINE)
    assert set(COMMANDS) <= set(rows)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name):
    """Each in its own words, and none with an example that the terminal's width would break."""
    for parameter in COMMANDS[name].params:
        assert getattr(parameter, "help", None) or parameter.name == "help", parameter.name
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert COMMANDS[name].help


@pytest.mark.parametrize("name", [name for name in reading(one=False) if name != "encode"])
def test_root_is_a_folder_that_is_there(name, tmp_path):
    arguments = [name, "tiny-digits", *(["tiny-digits"] if name == "diff" else [])]
    result = CliRunner().invoke(app, [*arguments, "--root", str(tmp_path / "missing")])
    assert result.exit_code == 2
