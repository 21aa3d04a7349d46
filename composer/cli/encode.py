"""``vision-composer encode``: images through an encoder into a folder of files, or into one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Config, Overrides, Plugins, Root
from .output import echo

if TYPE_CHECKING:
    from ..errors import ImageError
    from ..jobs import EncodeSummary
    from ..jobs.encoded import Encoded, Failed
    from ..jobs.progress import Progress
    from ..schemas import AnyConfig

_SHOWN = 20
"""Failures that are printed as they happen; a list has them all."""
_INTERRUPTED = 130


def encode(
    config: Config,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUTS",
            help="Images, folders, patterns, lists (.txt, .csv, - for standard input), .parquet, .tar, saved "
            "datasets, videos.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A folder, or a .parquet file, which is not resumed.")
    ],
    device: Annotated[str | None, typer.Option(help="Where to run, such as cuda or cuda:1.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=0, help="Processes that decode; 0 for threads. Default: one for every core."),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Images per forward at most.")] = None,
    batch_tokens: Annotated[int | None, typer.Option(min=1, help="Patches per forward at most.")] = None,
    part_size: Annotated[int | None, typer.Option(min=1, help="Images of a part; default: 2048.")] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Do the I-th of N shares, counted from 0.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="The column of tables that holds the images.")] = None,
    fps: Annotated[float | None, typer.Option(help="Frames of a video a second; default: all.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Frames of a video in all.")] = None,
    clips: Annotated[
        bool, typer.Option("--clips", help="Encode a video as one clip of these frames, not one by one.")
    ] = False,
    as_: Annotated[
        str, typer.Option("--as", metavar="binary|list", help="What the column of features holds.")
    ] = "binary",
    format_: Annotated[
        str, typer.Option("--format", metavar="parquet|safetensors", help="The files of features.")
    ] = "parquet",
    sink: Annotated[
        str | None,
        typer.Option(metavar="vllm-embeds", help="Write what another program reads; see docs/jobs.md."),
    ] = None,
    store_dtype: Annotated[
        str | None,
        typer.Option(metavar="DTYPE", help="float32, float16 or bfloat16; default: the encoder's."),
    ] = None,
    pool: Annotated[str, typer.Option(help="none, mean, max, cls, or a registered pooler.")] = "none",
    retry_failures: Annotated[
        bool, typer.Option("--retry-failures", help="Try images that failed before again.")
    ] = False,
    max_failures: Annotated[
        int | None, typer.Option(min=0, help="Give up when more images than this have failed.")
    ] = None,
    engine: Annotated[
        str, typer.Option(metavar="local|ray", help="This machine, or the actors of a Ray cluster.")
    ] = "local",
    ray_address: Annotated[
        str | None, typer.Option(help="A running Ray cluster; without it, one on this machine.")
    ] = None,
    num_gpus: Annotated[int | None, typer.Option(min=0, help="GPUs of the cluster; default: all.")] = None,
    set_: Overrides = None,
    root: Root = None,
    plugin: Plugins = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")] = False,
) -> None:
    """Encode images, one row per image. Run it again, and it goes on where it ended.

    An image that cannot be read, or whose features are not finite, is reported, listed in failures.parquet,
    and passed over.

    Exit status: 0 for all encoded, 1 if some images failed or the job stopped on its way, 2 if nothing was
    run, 130 after Ctrl-C.
    """
    from ..errors import VisionComposerError
    from ..jobs.inputs import find_inputs
    from ..presets import load_config

    options: dict[str, Any] = {
        "column": column,
        "fps": fps,
        "frames": frames,
        "clips": clips or None,
        "format": _format(as_, format_, sink),
        "store_dtype": _store_dtype(store_dtype),
        "pool": None if pool == "none" else pool,
        "part_size": part_size,
        "shard": _shard(shard),
        "batch_tokens": batch_tokens,
        "retry_failures": retry_failures or None,
        "max_failures": max_failures,
        "engine": None if engine == "local" else engine,
        "ray_address": ray_address,
        "num_gpus": num_gpus,
    }
    options = {name: value for name, value in options.items() if value is not None}
    always: dict[str, Any] = {
        "device": device,
        "workers": workers,
        "batch_size": batch_size,
        "overwrite": overwrite,
    }
    shown = _Shown()
    output = output.expanduser()
    try:
        # What is cheap to find wrong comes before the seconds that loading takes.
        find_inputs(inputs)
        tower = load_config(config, overrides=set_ or (), root=root)
        run = _one_file if _is_file(output) else _job
        summary = run(tower, inputs, output, shown, options, **always)
    except VisionComposerError as error:
        echo(f"error: {error}", err=True)
        raise typer.Exit(1 if shown.began else 2) from None
    except KeyboardInterrupt:
        echo(f"stopped; {_kept(output)}", err=True)
        raise typer.Exit(_INTERRUPTED) from None
    echo(_last_line(summary))
    raise typer.Exit(1 if summary.num_failed else 0)


def _job(
    tower: AnyConfig,
    inputs: Sequence[str],
    output: Path,
    shown: _Shown,
    options: dict[str, Any],
    **always: Any,
) -> EncodeSummary:
    from ..jobs import encode_dataset

    with shown:
        return encode_dataset(tower, inputs, output, **options, **always, on_progress=shown.progress)


def _one_file(
    tower: AnyConfig,
    inputs: Sequence[str],
    output: Path,
    shown: _Shown,
    options: dict[str, Any],
    *,
    device: str | None,
    batch_size: int | None,
    **always: Any,
) -> EncodeSummary:
    from ..composing import compose
    from ..errors import InputError
    from ..jobs import encode_images, output_file

    if options:
        named = ", ".join(name.replace("_", "-") for name in options)
        raise InputError(f"{output}: a single file has no choice of {named}; name a folder")
    output_file(output, overwrite=always["overwrite"])
    encoder = compose(tower, device=device)
    with shown:
        return encode_images(
            encoder, inputs, output, batch_size=batch_size or 8, **always, on_progress=shown.image
        )


def _is_file(output: Path) -> bool:
    return output.suffix == ".parquet" and not (output / "job.json").exists()


def _format(as_: str, format_: str, sink: str | None) -> str | None:
    for name, value, known in (
        ("--as", as_, ("binary", "list")),
        ("--format", format_, ("parquet", "safetensors")),
        ("--sink", sink, (None, "vllm-embeds")),
    ):
        if value not in known:
            raise typer.BadParameter(f"{name} is {' or '.join(filter(None, known))}, not {value!r}")
    chosen = [("parquet-list", as_ == "list"), ("safetensors", format_ == "safetensors")]
    formats = [name for name, wanted in chosen if wanted] + ([sink] if sink else [])
    if len(formats) > 1:
        raise typer.BadParameter(f"{' and '.join(formats)} exclude each other")
    return formats[0] if formats else None


def _store_dtype(name: str | None) -> str | None:
    if name not in (None, "float32", "float16", "bfloat16"):
        raise typer.BadParameter(f"--store-dtype is float32, float16 or bfloat16, not {name!r}")
    return name


def _shard(shard: str | None) -> tuple[int, int] | None:
    if shard is None:
        return None
    index, slash, count = shard.partition("/")
    if not (slash and index.isdecimal() and count.isdecimal()):
        raise typer.BadParameter(f"--shard is I/N, such as 0/4, not {shard!r}")
    return int(index), int(count)


class _Shown:
    """What is shown while images are encoded: a bar on a terminal, and the failures.

    Attributes:
        began: Whether an image was encoded or failed.
    """

    def __init__(self) -> None:
        self.began = False
        self._failed = 0

    def __enter__(self) -> None:
        from rich.console import Console
        from rich.progress import MofNCompleteColumn, Progress, TextColumn

        self._console = Console(stderr=True)
        self._bar = Progress(
            *Progress.get_default_columns()[:2],
            MofNCompleteColumn(),
            TextColumn("{task.fields[rates]}", markup=False),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("encoding", total=None, rates="")
        self._bar.start()

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def image(self, done: int, total: int, error: ImageError | None) -> None:
        """Show that another image is done."""
        self._advance(done, total, "")
        if error is not None:
            self._fail(error.name, error.reason)

    def progress(self, progress: Progress, results: Sequence[Encoded | Failed]) -> None:
        """Show how far a job is."""
        from ..jobs.encoded import Failed

        self._advance(progress.num_done, progress.num_rows, progress.line())
        for result in results:
            if isinstance(result, Failed):
                self._fail(result.id, result.reason)

    def _advance(self, done: int, total: int, rates: str) -> None:
        self.began = True
        self._bar.update(self._task, completed=done, total=total, rates=rates)

    def _fail(self, name: str, reason: str) -> None:
        from ..text import printable

        self._failed += 1
        if self._failed <= _SHOWN:
            message = printable(f"failed: {name}: {reason}", line=True)
            self._console.print(message, markup=False, highlight=False, soft_wrap=True)
        elif self._failed == _SHOWN + 1:
            self._console.print("failed: more images, which the list of failures will name")


def _kept(output: Path) -> str:
    if _is_file(output):
        return "nothing is kept, since a single file is not resumed; name a folder to have that"
    from ..jobs.job_folder import kept_parts

    return f"{kept_parts(output)}; run the same command again to go on"


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
