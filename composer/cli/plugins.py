"""``vision-composer plugins``: all that is registered, and where it comes from."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Plugins
from .output import echo

if TYPE_CHECKING:
    from ..plugins import Registered


def plugins(
    plugin: Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the encoders, feature selectors and attention backends, built in and of plugins.

    Imports every installed plugin. Exit status: 1 if one of them cannot be used.
    """
    from ..plugins import registered

    found, errors = registered()
    if as_json:
        echo(json.dumps([asdict(entry) for entry in found], indent=2))
    else:
        _print(found)
    for error in errors:
        echo(str(error), err=True)
    raise typer.Exit(1 if errors else 0)


def _print(found: list[Registered]) -> None:
    rows = [
        (entry.kind, entry.name, f"{entry.source} {entry.version or ''}".rstrip(), entry.file or "")
        for entry in found
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        echo("  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip())
