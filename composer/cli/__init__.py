"""The command line. A command's module imports nothing heavy before its function runs."""

from __future__ import annotations

import sys

import typer

from ..errors import VisionComposerError
from . import demo, encode, init, plan, presets, schema, show, validate

app = typer.Typer(
    help="A YAML file in, the vision encoder of a vision-language model out.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich takes as long to import as all the rest of --help
    pretty_exceptions_enable=False,
)
app.command()(plan.plan)
app.command()(encode.encode)
app.command()(demo.demo)
app.command()(validate.validate)
app.command()(init.init)
app.command()(show.show)
app.command()(show.explain)
app.command()(show.diff)
app.add_typer(presets.app, name="presets")
app.command()(schema.schema)


def main() -> None:
    """Run the command line. An error of this package prints its message, and the exit status is 1."""
    try:
        app()
    except VisionComposerError as error:
        typer.echo(str(error), err=True)
        sys.exit(1)
