"""``vision-composer validate``: every problem of every config, each at its position."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .files import Paths, count, files_of, read_stdin
from .options import Plugins, Root
from .output import echo

if TYPE_CHECKING:
    from ..errors import Problem


class Format(StrEnum):
    """How problems are printed."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"


def validate(
    paths: Paths,
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

    files = files_of(paths)
    # A set in order: files that extend the same broken file share its problems.
    found = list(dict.fromkeys(problem for file in files for problem in _check(file, root)))
    if format_ is Format.JSON:
        echo(reports.as_json(found))
    elif format_ is Format.SARIF:
        echo(reports.as_sarif(found))
    else:
        for problem in found:
            echo(problem.render() if format_ is Format.TEXT else reports.annotation(problem))
    warnings = sum(problem.warning for problem in found)
    counts = [count(len(files), "file"), count(len(found) - warnings, "problem")]
    echo(", ".join(counts + ([count(warnings, "warning")] if warnings else [])), err=True)
    raise typer.Exit(1 if len(found) > (0 if strict else warnings) else 0)


def _check(file: Path | None, root: Path | None) -> Sequence[Problem]:
    """Return the problems of a config, or else its warnings; None is standard input."""
    from ..errors import ConfigError
    from ..presets import preset_path
    from ..schemas import load_tree, load_yaml, validate_tree
    from ..schemas.yaml.warnings import warnings_of

    try:
        source = load_yaml(read_stdin(), "<stdin>", Path.cwd()) if file is None else file
        tree = load_tree(source, find_preset=preset_path, root=root)
        return warnings_of(validate_tree(tree), tree)
    except ConfigError as error:
        return error.problems
