"""``vision-composer bench``: how fast an encoder runs here, beside other programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from .options import Config, Overrides, Plugins, Root
from .output import echo
from .plan import parse_size


def bench(
    config: Config,
    against: Annotated[
        str, typer.Option(metavar="PEER,...", help="Compare with: transformers, onnxruntime, timm.")
    ] = "",
    images: Annotated[
        str,
        typer.Option(metavar="WxH,...", help="Sizes of the images in pixels; default: the encoder's own."),
    ] = "",
    batch: Annotated[int, typer.Option(min=1, help="How often the images are in the batch.")] = 1,
    rounds: Annotated[
        int,
        typer.Option(
            min=1,
            help="How often each is timed; with --latency, times 40; with --calibrate-products, times 4.",
        ),
    ] = 5,
    device: Annotated[str | None, typer.Option(help="Where to run, such as cuda or cuda:1.")] = None,
    set_: Overrides = None,
    root: Root = None,
    plugin: Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw it, too: PNG, SVG, PDF.")] = None,
    preprocess: Annotated[
        bool,
        typer.Option(
            "--preprocess",
            help="Instead, time from JPEG files to pixels, beside transformers' image processor.",
        ),
    ] = False,
    latency: Annotated[
        float | None,
        typer.Option(
            metavar="RATE",
            help="Instead, have RATE images a second come at random moments, and time what each waits.",
        ),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Instead, time images of several sizes and write parallel.cost_table."
        ),
    ] = None,
    calibrate_products: Annotated[
        bool,
        typer.Option(
            "--calibrate-products",
            help="Instead, time matrix products of MKL and of oneDNN, and keep which are faster for "
            "compile.mode max-performance on this machine.",
        ),
    ] = False,
) -> None:
    """Time an encoder beside other programs: same weights, same inputs, one process, interleaved rounds.

    What is compiled or quantised is the config's to say: --set compile=true and --set quantize=int8 add rows.
    Features are compared first.
    """
    from ..presets import load_config

    _check_alone(
        {
            "--preprocess": preprocess,
            "--latency": latency is not None,
            "--calibrate": calibrate is not None,
            "--calibrate-products": calibrate_products,
        },
        {"--against": against, "--batch": batch != 1, "--plot": plot},
    )
    sizes = [parse_size(size, "--images") for size in _split(images)]
    tower = load_config(config, overrides=set_ or (), root=root)
    if calibrate is not None:
        from ..bench import calibration
        from ..composing import compose_tower

        encoder = compose_tower(tower, overrides=["parallel=none"], device=device)
        costs = calibration.calibrate(encoder, sizes or calibration.SIZES, rounds=rounds)
        costs.save(calibrate)
        for (frames, rows, columns), seconds, number in costs.measurements:
            echo(f"{number} of {frames}x{rows}x{columns} patches: {seconds * 1e3:.1f} ms")
        return

    if calibrate_products:
        from ..bench import choose_products, report
        from ..composing import compose_tower

        encoder = compose_tower(tower, overrides=["parallel=none", "compile=false"], device=device)
        echo(report.products(choose_products(encoder, rounds=4 * rounds)))
        return

    if latency is not None:
        from ..bench import measure_latency, report
        from ..composing import compose

        composed = compose(tower, overrides=["parallel=none"], device=device)
        waits = measure_latency(composed, rate=latency, number=40 * rounds, images=sizes)
        echo(json.dumps(waits.to_dict(), indent=2) if as_json else report.latency(waits))
        return

    if preprocess:
        from ..bench import report
        from ..bench.preprocessing import compare_preprocessing

        pixels = compare_preprocessing(tower, images=sizes, rounds=rounds)
        echo(json.dumps(pixels.to_dict(), indent=2) if as_json else report.preprocessing(pixels))
        return

    from rich.console import Console

    from ..bench import compare, report

    if plot is not None:
        report.check_plot(plot)
    result = compare(tower, against=_split(against), images=sizes, batch=batch, rounds=rounds, device=device)
    if as_json:
        echo(json.dumps(result.to_dict(), indent=2))
    else:
        echo(report.heading(result))
        wide = Console(width=max(Console().width, 160))  # a column cut off is no figure
        wide.print(report.table(result), highlight=False)
        for line in report.quantisation(result):
            echo(line)
        if result.products_measured is not None:
            echo(report.products_used(result.products_measured))
    if plot is not None:
        report.plot(result, plot)


def _check_alone(instead: Mapping[str, object], comparing: Mapping[str, object]) -> None:
    """Refuse two things to do instead of a comparison, or options of a comparison beside one."""
    chosen = [name for name, given in instead.items() if given]
    beside = [name for name, given in comparing.items() if given]
    if chosen and len([*chosen, *beside]) > 1:
        raise typer.BadParameter(f"{' and '.join([*chosen, *beside])} exclude each other")


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
