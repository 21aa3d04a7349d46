"""``vision-composer export``: an encoder as one file that runs without transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Overrides, Plugins
from .output import echo

_AS_EXPORTED = ("compile=false", "parallel=none")
"""What a config may say of how it runs, and no file of one graph keeps."""


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A preset's name, a YAML file, the folder of a saved tower or checkpoint, or a hub id.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file, which must not exist.")],
    format_: Annotated[
        str,
        typer.Option("--format", metavar="pt2|aoti|onnx", help="Who reads the file; see docs/export.md."),
    ] = "pt2",
    device: Annotated[str | None, typer.Option(help="Where the file will run, such as cpu or cuda.")] = None,
    set_: Overrides = None,
    plugin: Plugins = None,
) -> None:
    """Write an encoder into one file that runs without transformers.

    Before the file gets its name, it is loaded again and compared with the encoder on batches of other
    numbers and sizes of images than it was made with.
    """
    from ..composing import compose
    from ..export.exporting import export_encoder

    encoder = compose(source, overrides=[*(set_ or ()), *_AS_EXPORTED], device=device)
    exported = export_encoder(encoder, output, format_)
    for batch, difference in exported.parity.items():
        echo(f"{batch}: within {difference:.1e} of the largest feature")
    size = exported.path.stat().st_size / 2**20
    echo(f"{exported.path}, {size:,.1f} MiB")
