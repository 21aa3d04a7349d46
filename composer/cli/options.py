"""Options that several commands share."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    str,
    typer.Argument(metavar="CONFIG", help="A preset's name, a YAML file, or a saved tower's folder."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Lay a value over the config; repeatable."),
]
Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        exists=True,
        file_okay=False,
        metavar="FOLDER",
        help="Let configs extend files anywhere below FOLDER; without it, below their own folder.",
    ),
]


def _import(modules: list[str] | None) -> list[str] | None:
    if modules:
        from ..errors import PluginError
        from ..registry import load_plugin
        from ..text import printable

        # Last, so that a file of the working directory never stands in for an installed module.
        sys.path.append(os.getcwd())
        for module in modules:
            try:
                load_plugin(module)
            except PluginError as error:
                raise typer.BadParameter(printable(str(error))) from error
    return modules


Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--plugin",
        metavar="MODULE",
        callback=_import,
        is_eager=True,
        help="Import a module that registers encoders, feature selectors or attention backends; repeatable.",
    ),
]
"""``--plugin MODULE``: imported before the command begins."""
