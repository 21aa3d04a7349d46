"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[str, typer.Argument(help="A preset's name, a YAML file, or a saved tower's folder.")]
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
