"""``vision-composer new-family``: a plugin with one encoder family, to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .output import echo


def new_family(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The plugin's import name, such as my_deit.")],
    model_type: Annotated[
        str, typer.Option("--from", metavar="MODEL_TYPE", help="The encoder's model type in transformers.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write; default: NAME.")
    ] = None,
) -> None:
    """Write a plugin for an encoder of transformers that takes images of one size as a batch.

    Its config block, its family, a preset and a test. What cannot be read off transformers' classes is left
    to do, and the test says so. No file that exists is overwritten.
    """
    from ..scaffold import new_family as write

    folder = Path(name) if output is None else output
    written = write(name, model_type, folder)
    for path in written.files:
        echo(str(path))
    for path, line, todo in written.todos:
        echo(f"{path}:{line}: TODO: {todo}")
    echo(f"Configs call the encoder {written.model_type}. Check it:", err=True)
    echo(f"pip install -e {folder} && pytest {folder}", err=True)
