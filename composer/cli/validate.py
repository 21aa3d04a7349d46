"""``vision-composer validate``: every problem of every config, each at its position."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Plugins

if TYPE_CHECKING:
    from ..errors import Problem


class Format(StrEnum):
    """How problems are printed."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


def validate(
    paths: Annotated[list[str], typer.Argument(help="YAML files, and folders that are searched for them.")],
    format_: Annotated[
        Format,
        typer.Option("--format", help="For people, for programs, or as annotations of a GitHub workflow."),
    ] = Format.TEXT,
    plugin: Plugins = None,
) -> None:
    """Check configs, and print every problem in them.

    Exit status: 0 for no problem, 1 for problems, 2 for no config to check.
    """
    from ..errors import ConfigError
    from ..presets import load_config

    files = _files(paths)
    found: dict[
        Problem, None
    ] = {}  # a set in order: files that extend the same broken file share its problems
    for file in files:
        try:
            load_config(file)
        except ConfigError as error:
            found.update(dict.fromkeys(error.problems))
    problems = list(found)
    if format_ is Format.JSON:
        typer.echo(json.dumps([_as_json(problem) for problem in problems], indent=2))
    for problem in problems if format_ is not Format.JSON else ():
        typer.echo(problem.render() if format_ is Format.TEXT else _annotation(problem))
    typer.echo(f"{_count(len(files), 'file')}, {_count(len(problems), 'problem')}", err=True)
    raise typer.Exit(1 if problems else 0)


def _files(paths: Iterable[str]) -> list[Path]:
    files: dict[Path, None] = {}
    for path in paths:
        if os.path.isdir(path):
            found = sorted(_below(path))
            if not found:
                raise typer.BadParameter(f"no .yaml or .yml file in {path!r}", param_hint="PATHS")
            files.update(dict.fromkeys(found))
        elif os.path.exists(path):
            files[Path(path)] = None
        else:
            raise typer.BadParameter(f"no such file or folder: {path!r}", param_hint="PATHS")
    return list(files)


def _below(folder: str) -> Iterable[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if name.endswith((".yaml", ".yml")))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _as_json(problem: Problem) -> dict[str, str | int | None]:
    span = problem.span
    return {
        "code": problem.code,
        "message": problem.message,
        "path": problem.path,
        "file": span.source if span else None,
        "line": span.line if span else None,
        "column": span.column if span else None,
    }


def _annotation(problem: Problem) -> str:
    """The problem as a workflow command of GitHub Actions."""
    span = problem.span
    where = f"file={_escaped(span.source)},line={span.line},col={span.column}," if span else ""
    path = f"{problem.path}: " if problem.path else ""
    text = (path + problem.message).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return f"::error {where}title={problem.code}::{text}"


def _escaped(value: str) -> str:
    for character, code in (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"), (":", "%3A"), (",", "%2C")):
        value = value.replace(character, code)
    return value
