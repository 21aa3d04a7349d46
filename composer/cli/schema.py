"""``vision-composer schema``: the JSON Schema of a config, for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def schema(
    check: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="Print nothing; exit with 1 if FILE is out of date.",
        ),
    ] = None,
) -> None:
    """Print the JSON Schema of a config."""
    from ..schemas.json_schema import json_schema, json_schema_text

    if check is None:
        typer.echo(json_schema_text(), nl=False)
    elif _parsed(check) != json_schema():
        typer.echo(f"{check} is out of date; write it anew with: vision-composer schema > {check}", err=True)
        raise typer.Exit(1)


def _parsed(file: Path) -> object:
    import json

    try:
        return json.loads(file.read_bytes())
    except ValueError:
        return None
