"""``vision-composer validate``: every problem of every config, each at its position."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Plugins, Root

if TYPE_CHECKING:
    from ..errors import Problem


class Format(StrEnum):
    """How problems are printed."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"


def validate(
    paths: Annotated[
        list[str], typer.Argument(help="YAML files, folders that are searched for them, or - for stdin.")
    ],
    format_: Annotated[
        Format,
        typer.Option(
            "--format",
            help="For people, for programs, as annotations of a GitHub workflow, or as SARIF 2.1.0.",
        ),
    ] = Format.TEXT,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings fail, too.")] = False,
    root: Root = None,
    plugin: Plugins = None,
) -> None:
    """Check configs, and print every problem in them.

    Exit status: 0 for no problem, 1 for problems (with --strict, for warnings too), 2 for no config to check.
    """
    from . import reports

    files = _files(paths)
    # A set in order: files that extend the same broken file share its problems.
    found = list(dict.fromkeys(problem for file in files for problem in _check(file, root)))
    if format_ is Format.JSON:
        typer.echo(reports.as_json(found))
    elif format_ is Format.SARIF:
        typer.echo(reports.as_sarif(found))
    else:
        for problem in found:
            typer.echo(problem.render() if format_ is Format.TEXT else reports.annotation(problem))
    warnings = sum(problem.warning for problem in found)
    counts = [_count(len(files), "file"), _count(len(found) - warnings, "problem")]
    typer.echo(", ".join(counts + ([_count(warnings, "warning")] if warnings else [])), err=True)
    raise typer.Exit(1 if len(found) > (0 if strict else warnings) else 0)


def _check(file: Path | None, root: Path | None) -> Sequence[Problem]:
    """The problems of a config, or else its warnings; None is standard input."""
    from ..errors import ConfigError
    from ..presets import preset_path
    from ..schemas import load_tree, load_yaml, validate_tree
    from ..schemas.nodes import MAX_BYTES
    from ..schemas.warnings import warnings_of

    try:
        source = (
            load_yaml(sys.stdin.buffer.read(MAX_BYTES + 1), "<stdin>", Path.cwd()) if file is None else file
        )
        tree = load_tree(source, find_preset=preset_path, root=root)
        return warnings_of(validate_tree(tree), tree)
    except ConfigError as error:
        return error.problems


def _files(paths: Iterable[str]) -> list[Path | None]:
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


def _below(folder: str) -> Iterable[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if name.endswith((".yaml", ".yml")))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
