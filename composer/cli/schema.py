"""``vision-composer schema``: the JSON Schema of a config, for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Plugins
from .output import echo

_MOST_BYTES = 32 << 20


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
    plugin: Plugins = None,
    built_in: Annotated[
        bool, typer.Option("--built-in", help="Leave out what plugins add, installed ones too.")
    ] = False,
) -> None:
    """Print the JSON Schema of a config, with the encoders and names that plugins add."""
    from ..schemas.json_schema import json_schema, json_schema_text

    if check is None:
        echo(json_schema_text(plugins=not built_in), nl=False)
    elif _parsed(check) != json_schema(plugins=not built_in):
        options = "".join(f" --plugin {module}" for module in plugin or ()) + (" --built-in" * built_in)
        command = f"vision-composer schema{options} > {check}"
        echo(f"{check} is out of date; write it anew with: {command}", err=True)
        raise typer.Exit(1)


def _parsed(file: Path) -> object:
    import json

    from ..files import read_regular

    try:
        return json.loads(read_regular(file, limit=_MOST_BYTES))
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="--check") from None
    except (ValueError, RecursionError):
        return None
