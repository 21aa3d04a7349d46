"""``vision-composer validate``: every problem of every config, each at its position."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ..text import printable
from .files import OptionalPaths, count, files_of, read_stdin
from .options import Plugins, Root
from .output import echo


class Format(StrEnum):
    """How problems are printed."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"
    SARIF = "sarif"


def validate(
    paths: OptionalPaths = None,
    format_: Annotated[
        Format,
        typer.Option(
            "--format",
            help="For people, for programs, as annotations of a GitHub workflow, or as SARIF 2.1.0.",
        ),
    ] = Format.TEXT,
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings fail, too.")] = False,
    select: Annotated[
        list[str] | None,
        typer.Option("--select", metavar="CODE", help="Report these codes alone; VC3 stands for all VC3.."),
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="CODE", help="Do not report a code; repeatable.")
    ] = None,
    error: Annotated[
        list[str] | None,
        typer.Option("--error", metavar="CODE", help="Let a warning fail as an error does; repeatable."),
    ] = None,
    show_settings: Annotated[
        bool, typer.Option("--show-settings", help="Print the settings that hold here, and check nothing.")
    ] = False,
    root: Root = None,
    plugin: Plugins = None,
) -> None:
    """Check configs, and print every problem in them.

    Which codes count can stand in [tool.vision-composer] of pyproject.toml, or in vision-composer.toml.

    Exit status: 0 for no problem, 1 for problems (with --strict, for warnings too), 2 for no config to check.
    """
    from ..checking import problems_of_files
    from ..errors import SettingsError
    from ..schemas.project import project_settings
    from . import reports

    try:
        settings = project_settings().laid_under(select=select or (), ignore=ignore or (), error=error or ())
    except SettingsError as wrong:
        raise typer.BadParameter(printable(str(wrong))) from None
    if show_settings:
        echo(reports.settings_as_toml(settings))
        return
    files = files_of(paths or ())
    if not files:
        raise typer.BadParameter("say which files or folders to check", param_hint="PATHS")
    found = problems_of_files([read_stdin() if file is None else file for file in files], settings, root=root)
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
