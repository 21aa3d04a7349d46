"""The page of commands: what ``--help`` says of each, from the command line itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import typer

from vision_composer.cli import app

from .markdown import prose, table

_HEAD = """# Every option

What `vision-composer COMMAND --help` prints, command by command. [The command line](../cli.md) explains them with
examples.

"""  # noqa: E501  # lines of a page


def page() -> str:
    """The text of ``reference/commands.md``."""
    return _HEAD + "".join(
        _section(name, command) for name, command in _commands(typer.main.get_command(app), "")
    )


def _commands(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from _commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def _section(name: str, command: Any) -> str:
    context = command.make_context(f"vision-composer {name}", [], resilient_parsing=True)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    text = f"## {name}\n\n```text\n{usage}\n```\n\n{prose(inspect.cleandoc(command.help))}\n\n"
    records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
    rows = [(f"`{names}`", prose(" ".join(help.split()))) for names, help in filter(None, records)]
    return text + table(("argument or option", "meaning"), rows)
