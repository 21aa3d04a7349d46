"""The one place where the commands print: nothing that they were given can steer the terminal."""

from __future__ import annotations

import sys

import typer

from ..text import printable


def echo(text: str | bytes, *, err: bool = False, nl: bool = True) -> None:
    """Print a message with its control characters made visible; of bytes, only if a terminal shows them.

    Args:
        text: What to print; bytes are a file's content.
        err: Print to standard error.
        nl: End with a line break.
    """
    if isinstance(text, bytes):
        if not sys.stdout.isatty():
            typer.echo(text, nl=nl)
            return
        text = text.decode("utf-8", "backslashreplace")
    typer.echo(printable(text), err=err, nl=nl)
