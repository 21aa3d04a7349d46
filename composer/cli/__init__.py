"""The command line. A command's module imports nothing heavy before its function runs."""

from __future__ import annotations

import io
import os
import sys

import typer

from ..errors import VisionComposerError
from . import (
    backends,
    bench,
    demo,
    diff,
    encode,
    export,
    init,
    inspect,
    job,
    lock,
    migrate,
    new_family,
    plan,
    plugins,
    presets,
    probe,
    schema,
    show,
    validate,
    verify,
)
from .output import echo

app = typer.Typer(
    help="A YAML file in, the vision encoder of a vision-language model out.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich takes as long to import as all the rest of --help
    pretty_exceptions_enable=False,
)
app.command()(plan.plan)
app.command()(backends.backends)
app.command()(encode.encode)
app.command()(job.job)
app.command()(export.export)
app.command()(inspect.inspect)
app.command()(bench.bench)
app.command()(probe.probe)
app.command()(verify.verify)
app.command()(demo.demo)
app.command()(validate.validate)
app.command()(migrate.migrate)
app.command()(lock.lock)
app.command()(init.init)
app.command()(show.show)
app.command()(show.explain)
app.command()(diff.diff)
app.add_typer(presets.app, name="presets")
app.command()(schema.schema)
app.command()(plugins.plugins)
app.command()(new_family.new_family)


def main() -> None:
    """Run the command line. An error of this package prints its message, and the exit status is 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character
    try:
        app()
    except VisionComposerError as error:
        echo(str(error), err=True)
        sys.exit(1)
    except OSError as error:
        echo(_reason(error), err=True)
        sys.exit(1)


def _reason(error: OSError) -> str:
    if error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    try:
        os.getcwd()
    except OSError:
        return "the current directory is gone; change to one that exists"
    return f"cannot write: {error.strerror or error}"  # standard output is full or gone
