"""The config files that PATHS of a command mean."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

_PATHS = typer.Argument(
    metavar="PATHS", help="YAML files, folders that are searched for them, or - for stdin."
)
Paths = Annotated[list[str], _PATHS]
OptionalPaths = Annotated[list[str] | None, _PATHS]
"""For a command that has something to do without any."""


def files_of(paths: Sequence[str]) -> list[Path | None]:
    """Return every file once, in the order given; those of a folder sorted. None is standard input.

    Raises:
        typer.BadParameter: If a path leads nowhere, or a folder holds no YAML file or cannot be read.
    """
    from ..checking import config_files
    from ..errors import InputError

    try:
        found = (file for path in paths for file in ([None] if path == "-" else config_files([path])))
        return list(dict.fromkeys(found))
    except InputError as error:
        raise typer.BadParameter(str(error), param_hint="PATHS") from None


def read_stdin() -> bytes:
    """Read standard input, as much of it as decides whether it is too large."""
    from ..schemas.yaml.nodes import MAX_BYTES

    return sys.stdin.buffer.read(MAX_BYTES + 1)


def count(number: int, noun: str) -> str:
    """Return ``1 file``, ``2 files``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
