"""A comparison as a table and as a chart."""

from __future__ import annotations

from collections import Counter
from math import prod
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from ..errors import InputError
from ..running.products import MKL, ONEDNN
from .peers import require
from .result import OURS, BenchResult, Row

if TYPE_CHECKING:
    from rich.table import Table

    from .latency import LatencyResult
    from .preprocessing import PreprocessResult
    from .products import ProductsResult


def heading(result: BenchResult) -> str:
    """Say what was run and where, in two lines."""
    images = ", ".join(f"{n} of {w}x{h}" for (w, h), n in Counter(result.images).items())
    weights = "random weights" if result.weights is None else f"weights of {result.weights}"
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    return (
        f"{result.config or result.model_type}: {result.num_blocks} of {result.num_hidden_layers} blocks, "
        f"{result.dtype}, {weights}, the same for all; images {images}: {result.num_patches:,} patches\n"
        f"{result.device}, {result.threads} threads, {result.peak_flops_per_second / 1e9:.0f} GFLOP/s in a "
        f"matrix product; {versions}"
    )


def table(result: BenchResult) -> Table:
    """A row for each program."""
    from rich.table import Table

    shown = Table(box=None, padding=(0, 2, 0, 0))
    shown.add_column("")
    for name in columns(result):
        shown.add_column(name, justify="right")
    for row in result.rows:
        shown.add_row(row.name, *cells(result, row))
    return shown


def columns(result: BenchResult) -> list[str]:
    """What :func:`cells` holds."""
    speeds = [f"x {peer.name}" for peer in result.peers]
    return ["ms", "min-max", *speeds, "GFLOP/s", "of peak", "peak MiB", "first s", "graphs", "recompiles"]


def cells(result: BenchResult, row: Row) -> list[str]:
    """A row in text: median, spread, speed against each peer, and so on."""
    rate = result.flops_per_second(row)
    return [
        f"{row.median * 1e3:,.0f}",
        f"{min(row.seconds) * 1e3:,.0f}-{max(row.seconds) * 1e3:,.0f}",
        *(f"{result.speed(row, peer):.2f}" for peer in result.peers),
        "-" if rate is None else f"{rate / 1e9:,.0f}",
        "-" if rate is None else f"{rate / result.peak_flops_per_second:.0%}",
        "-" if row.peak_bytes is None else f"{row.peak_bytes / 2**20:,.0f}",
        f"{row.first_seconds:.1f}",
        str(row.graphs),
        str(row.recompiles),
    ]


def quantisation(result: BenchResult) -> list[str]:
    """Say of each quantised tower, in a line, how its speed and features compare with those without."""
    return [
        f"{row.name} beside {plain.name}: {result.speed(row, plain):.2f} times as fast"
        f"{'' if result.speed(row, plain) > 1 else ', which is slower'}; tokens differ by up to "
        f"{row.difference:.1%} of their norm"
        for row, plain in result.quantised
    ]


def preprocessing(result: PreprocessResult) -> str:
    """Say what preprocessing took, in a line for what was run, and one for each side."""
    images = ", ".join(f"{n} of {w}x{h}" for (w, h), n in Counter(result.images).items())
    lines = [f"{result.processor}, JPEG to float32 pixels, {result.device}, one thread; images {images}"]
    rows = {OURS: result.ours, "transformers": result.theirs, "Pillow alone": result.pillow}
    for name, seconds in rows.items():
        if not seconds:
            continue
        spread = f"{min(seconds) * 1e3:,.0f}-{max(seconds) * 1e3:,.0f}"
        lines.append(f"{name:<16}{median(seconds) * 1e3:>6,.0f} ms {spread:>12}")
    lines.append(f"x transformers  {result.speed:>6.2f}")
    if not result.numba:
        lines.append("numba is missing, which resizes faster: pip install 'vision-composer[numba]'")
    return "\n".join(lines)


def products(result: ProductsResult) -> str:
    """Say how fast each library was, in a line for each product, and where that is kept."""
    lines = [f"{'product':>16}{MKL:>10}{ONEDNN:>10}  GFLOP/s, medians"]
    for product, kinds in result.seconds.items():
        mkl, onednn = (2e-9 * prod(product) / median(kinds[name]) for name in (MKL, ONEDNN))
        lines.append(f"{product!s:>16}{mkl:>10,.0f}{onednn:>10,.0f}  {result.measured[product]}")
    return "\n".join([*lines, f"kept in {result.file} for {result.machine}"])


def products_used(measured: bool) -> str:
    """Say whether a comparison's compiled code used the matrix products that were measured to be faster."""
    whose = "as measured on this machine" if measured else "MKL's; --calibrate-products may find faster ones"
    return f"matrix products of compiled blocks: {whose}"


def latency(result: LatencyResult) -> str:
    """Say what callers waited, in three lines."""
    number = len(result.seconds)
    sizes = ", ".join(f"{w}x{h}" for w, h in result.images)
    waited = ", ".join(f"p{share} {result.percentile(share) * 1e3:,.1f} ms" for share in (50, 90, 99))
    lines = [
        f"{number} JPEGs of {sizes} at {result.rate:g} a second, {result.device}",
        f"waited: {waited}",
        f"done: {result.served:,.1f} a second, {number / result.forwards:.1f} in a forward",
    ]
    return "\n".join(lines)


def check_plot(path: Path) -> None:
    """Find out whether a chart can be drawn into a file, before what it shows is measured.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
        InputError: If the file has no folder, or matplotlib does not know its kind.
    """
    require("matplotlib", "to draw")
    from matplotlib.figure import Figure

    if not path.parent.is_dir():
        raise InputError(f"{path}: cannot be drawn: there is no folder {path.parent}")
    known = Figure().canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in known:
        raise InputError(f"{path}: cannot be drawn: its name must end in one of .{', .'.join(sorted(known))}")


def plot(result: BenchResult, path: Path) -> None:
    """Draw the medians, with their spread, into a file of whatever kind its name says.

    Raises:
        MissingDependencyError: If matplotlib is not installed.
        InputError: If the file cannot be written, or matplotlib does not know its kind.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    rows = result.rows[::-1]
    medians = [row.median * 1e3 for row in rows]
    below = [m - min(row.seconds) * 1e3 for m, row in zip(medians, rows, strict=True)]
    above = [max(row.seconds) * 1e3 - m for m, row in zip(medians, rows, strict=True)]
    figure = Figure(figsize=(8, 1.2 + 0.5 * len(rows)), layout="constrained")
    axes = figure.subplots()
    axes.barh([row.name for row in rows], medians, xerr=[below, above], capsize=3)
    axes.set_xlabel("ms per forward: median, lowest and highest")
    axes.set_title(f"{result.config or result.model_type}, {result.device}", fontsize="medium")
    try:
        figure.savefig(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be drawn: {error}") from error
