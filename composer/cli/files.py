"""The config files that PATHS of a command mean."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

Paths = Annotated[
    list[str],
    typer.Argument(metavar="PATHS", help="YAML files, folders that are searched for them, or - for stdin."),
]


def files_of(paths: Iterable[str]) -> list[Path | None]:
    """Return every file once, in the order given; those of a folder sorted. None is standard input.

    Raises:
        typer.BadParameter: If a path leads nowhere, or a folder holds no YAML file or cannot be read.
    """
    files: dict[Path | None, None] = {}
    for path in paths:
        if path == "-":
            files[None] = None
        elif os.path.isdir(path):
            found = sorted(_below(path))
            if not found:
                raise typer.BadParameter(f"no .yaml or .yml file in {path!r}", param_hint="PATHS")
            files.update(dict.fromkeys(found))
        elif os.path.exists(path):
            files[Path(path)] = None
        else:
            raise typer.BadParameter(f"no such file or folder: {path!r}", param_hint="PATHS")
    return list(files)


def read_stdin() -> bytes:
    """Read standard input, as much of it as decides whether it is too large."""
    from ..schemas.yaml.nodes import MAX_BYTES

    return sys.stdin.buffer.read(MAX_BYTES + 1)


def count(number: int, noun: str) -> str:
    """Return ``1 file``, ``2 files``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _below(folder: str) -> Iterable[Path]:
    for parent, folders, names in os.walk(folder, onerror=_unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if name.endswith((".yaml", ".yml")))


def _unreadable(error: OSError) -> None:
    raise typer.BadParameter(
        f"the folder {error.filename!r} cannot be read: {error.strerror}", param_hint="PATHS"
    ) from None
