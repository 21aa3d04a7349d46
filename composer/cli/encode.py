"""``vision-composer encode``: images through an encoder into a Parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Config, Overrides, Plugins, Root
from .output import echo

if TYPE_CHECKING:
    from ..encoder import ComposedVisionEncoder
    from ..errors import ImageError
    from ..jobs import EncodeSummary


def encode(
    config: Config,
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGES", help="Image files, and folders that are searched to any depth."),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A .parquet file, or a folder to put features.parquet in.")
    ],
    batch_size: Annotated[int, typer.Option(min=1, help="Images per forward.")] = 8,
    device: Annotated[str | None, typer.Option(help="Where to run, such as cuda or cuda:1.")] = None,
    set_: Overrides = None,
    root: Root = None,
    plugin: Plugins = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an output that exists, and its list of failures.")
    ] = False,
) -> None:
    """Encode images into a Parquet file, one row per image.

    An image that cannot be read, or whose features are not finite, is reported, listed in
    NAME.failed.jsonl beside the output, and passed over.

    Exit status: 0 for all encoded, 1 if some images failed or the job stopped on its way, 2 if nothing was
    run.
    """
    from ..composing import compose
    from ..errors import VisionComposerError
    from ..jobs import expand_sources, output_file
    from ..presets import load_config

    try:
        # What is cheap to find wrong comes before the seconds that loading takes.
        expand_sources(images)
        output_file(output, overwrite=overwrite)
        tower = load_config(config, overrides=set_ or (), root=root)
        encoder = compose(tower, device=device)
    except VisionComposerError as error:
        raise _stopped(error, 2) from None
    summary = _run(encoder, images, output, batch_size, overwrite)
    echo(_last_line(summary))
    raise typer.Exit(1 if summary.num_failed else 0)


def _stopped(error: Exception, status: int) -> typer.Exit:
    echo(f"error: {error}", err=True)
    return typer.Exit(status)


def _run(
    encoder: ComposedVisionEncoder, images: list[Path], output: Path, batch_size: int, overwrite: bool
) -> EncodeSummary:
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    from ..errors import VisionComposerError
    from ..jobs import encode_images
    from ..text import printable

    console = Console(stderr=True)
    columns = (
        *Progress.get_default_columns()[:2],
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("encoding", total=None)

        ran = False

        def report(done: int, total: int, error: ImageError | None) -> None:
            nonlocal ran
            ran = True
            progress.update(bar, completed=done, total=total)
            if error is not None:
                message = printable(f"failed: {error}", line=True)
                console.print(message, markup=False, highlight=False, soft_wrap=True)

        try:
            return encode_images(
                encoder, images, output, batch_size=batch_size, overwrite=overwrite, on_progress=report
            )
        except VisionComposerError as error:
            raise _stopped(error, 1 if ran else 2) from None


def _last_line(summary: EncodeSummary) -> str:
    images = "image" if summary.num_images == 1 else "images"
    failed = (
        f", {summary.num_failed} failed (listed in {summary.failures})"
        if summary.num_failed
        else ", 0 failed"
    )
    return (
        f"encoded {summary.num_images:,} {images}{failed}, {summary.num_tokens:,} tokens x {summary.width}, "
        f"{summary.seconds:.1f} s, {summary.output}"
    )
