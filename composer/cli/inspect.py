"""``vision-composer inspect``: what an encoder sees of images and makes of them, as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Overrides, Plugins
from .output import echo

_AS_IT_IS = ("compile=false", "parallel=none")
"""A few images are not worth compiling for, and a page is written by one process."""


def inspect(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A preset's name, a YAML file, the folder of a saved tower or checkpoint, or a hub id.",
        ),
    ],
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="Images, and videos, of which 8 frames are taken.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The page, an .html file.")],
    device: Annotated[str | None, typer.Option(help="Where to run, such as cuda or cuda:1.")] = None,
    set_: Overrides = None,
    plugin: Plugins = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a page that exists.")] = False,
) -> None:
    """Write a page that shows the vision half, and what it sees of images and makes of them.

    For each image the page has the pixels that the encoder sees, the features of every hidden state as
    colours, norms, the similarity of layers, and how the tokens are counted. It is one file without links to
    others.

    Exit status: 0 if all images are in the page, 1 if some could not be read, or if nothing was written.
    """
    from ..composing import compose
    from ..report import inspect_images, write_report
    from ..report.writing import check_target

    check_target(output, overwrite=overwrite)  # before the seconds that loading takes
    encoder = compose(source, overrides=[*(set_ or ()), *_AS_IT_IS], device=device)
    inspection = inspect_images(encoder, images)
    write_report(inspection, output, overwrite=overwrite)
    for failure in inspection.failures:
        echo(f"failed: {failure}", err=True)
    number = len(inspection.images)
    failed = f", {len(inspection.failures)} failed" if inspection.failures else ""
    size = output.expanduser().stat().st_size / 1024
    echo(f"{output}: {number} {'image' if number == 1 else 'images'}{failed}, {size:,.0f} KiB")
    raise typer.Exit(1 if inspection.failures else 0)
