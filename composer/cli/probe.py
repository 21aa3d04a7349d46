"""``vision-composer probe``: what every hidden state of an encoder knows of labelled images."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Overrides, Plugins
from .output import echo

if TYPE_CHECKING:
    from rich.table import Table

    from ..probe import LayerProbe, ProbeReport

DIGITS = "digits"
_SHOWN = 20
"""Images left out that are named; of more, the number is said."""
_BAR = 30


def probe(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A preset's name, a YAML file, or the folder of a saved tower or of a checkpoint.",
        ),
    ],
    images: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER", help=f"A folder with a folder of images for each class, or the word {DIGITS}."
        ),
    ],
    batch_size: Annotated[int, typer.Option(min=1, help="Images per forward.")] = 8,
    seed: Annotated[int, typer.Option(help="What draws the half of every class that is held out.")] = 0,
    device: Annotated[str | None, typer.Option(help="Where to run, such as cuda or cuda:1.")] = None,
    set_: Overrides = None,
    plugin: Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say which layers know most: how well nearest neighbours and a linear probe tell the classes apart.

    Probes are fitted on half of every class and judged on the other half, for every hidden state of the
    tower. Images that cannot be read are named and left out. The word digits stands for handwritten digits
    that tiny-digits was not trained on, and needs the extra: pip install 'vision-composer[demo]'.
    """
    from ..composing import compose_tower
    from ..presets import load_config
    from ..probe import load_digits, load_folder, probe_layers
    from ..schemas import one_tower
    from ..sources import config_of

    # What is cheap to find wrong comes before the seconds that loading takes.
    labelled = load_digits() if images == DIGITS else load_folder(images)
    config = one_tower(config_of(source, overrides=set_ or ()))
    whole = [f"select_layers=[{config.encoder.num_hidden_layers}]", "feature_select_strategy=full"]
    whole += ["head=false", "post_norm=auto", "deepstack=concat", "output=features", "reduce=null"]
    whole += ["parallel=none"]
    encoder = compose_tower(load_config(config, overrides=whole), device=device)
    report = probe_layers(
        encoder,
        labelled.images,
        labelled.labels,
        held_out=labelled.held_out,
        seed=seed,
        batch_size=batch_size,
    )
    if as_json:
        echo(json.dumps(report.to_dict(), indent=2))
        return
    _print(report)


def _print(report: ProbeReport) -> None:
    from rich.console import Console

    for error in report.failed[:_SHOWN]:
        echo(f"left out: {error}", err=True)
    if len(report.failed) > _SHOWN:
        echo(f"left out: {len(report.failed) - _SHOWN} more", err=True)
    failed = f", {len(report.failed)} left out" if report.failed else ""
    drawn = "as the demo splits them" if report.seed is None else f"drawn with seed {report.seed}"
    echo(
        f"{report.name}: {len(report.classes)} classes; probes fitted on {report.num_fitted} images and "
        f"judged on {report.num_held_out} others, {drawn}{failed}"
    )
    console = Console()
    wide = Console(width=max(console.width, 100))  # a column cut off is no figure
    block = "█" if console.encoding.startswith("utf") else "#"
    wide.print(table(report, block=block), highlight=False)
    chosen, best = report.chosen, report.best
    if chosen == best:
        why = "which the linear probe reads best"
    else:
        why = f"the shallowest within a standard error of the best, {best.layer}"
    echo(f"select_layers: {report.select_layers}  # hidden state {chosen.layer} of {report.depth}, {why}")


def table(report: ProbeReport, *, block: str) -> Table:
    """A row for each hidden state; ``block`` is the character that bars are made of."""
    from rich.table import Table

    shown = Table(box=None, padding=(0, 2, 0, 0))
    by_class = {probe.layer: probe for probe in report.of("class")}
    for name in ("hidden state", f"{report.neighbours} neighbours", "linear ± standard error"):
        shown.add_column(name, justify="right")
    shown.add_column("linear, 0 to 1")
    for name in ("class token: neighbours", "linear") if by_class else ():
        shown.add_column(name, justify="right")
    for probe in report.of("mean"):
        beside = by_class.get(probe.layer)
        more = [] if beside is None else [f"{beside.knn_accuracy:.3f}", f"{beside.linear_accuracy:.3f}"]
        style = "bold" if probe == report.chosen else None
        shown.add_row(*_cells(probe, block), *more, style=style)
    return shown


def _cells(probe: LayerProbe, block: str) -> list[str]:
    return [
        str(probe.layer),
        f"{probe.knn_accuracy:.3f}",
        f"{probe.linear_accuracy:.3f} ± {probe.standard_error:.3f}",
        block * round(_BAR * probe.linear_accuracy),
    ]
