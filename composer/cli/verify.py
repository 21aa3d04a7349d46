"""``vision-composer verify``: a composed vision half beside the model in transformers that it comes from."""

from __future__ import annotations

import json
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Overrides, Plugins, Root
from .output import echo

if TYPE_CHECKING:
    from ..schemas import TowerConfig
    from ..testing.vlm import ImageComparison

_COLUMNS = ("image", "size", "pixels", "hidden states", "planned", "rows", "model's rows", "difference", "")


def verify(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A preset, a YAML file, or the folder or hub id of a VLM's checkpoint."
        ),
    ],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Images to compare.")],
    set_: Overrides = None,
    root: Root = None,
    plugin: Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare the vision half with the whole model in transformers, on your weights and your images.

    Pixels, every hidden state that is read, the number of rows, and the rows that the model puts among its
    input embeddings, in float32. Exits with 1 if an image differs.
    """
    from ..images.decode import open_image
    from ..testing.vlm import compare_vlm

    opened = [open_image(path, name=str(path)) for path in images]
    compared = compare_vlm(_config(source, list(set_ or ()), root), opened)
    if as_json:
        lines = [
            {"image": str(path), **asdict(line), "equal": line.equal}
            for path, line in zip(images, compared, strict=True)
        ]
        echo(json.dumps([_plain(line) for line in lines], indent=2, allow_nan=False))
    else:
        _print(images, compared)
    if not all(line.equal for line in compared):
        raise typer.Exit(1)


def _config(source: str, overrides: list[str], root: Path | None) -> TowerConfig:
    """Return the config of a preset or file, or else of the checkpoint that ``source`` names."""
    from ..presets import load_config
    from ..schemas import one_tower
    from ..sources import config_of

    if root is None:
        return one_tower(config_of(source, overrides=overrides))
    return one_tower(load_config(source, overrides=overrides, root=root))


def _plain(value: object) -> object:
    """Return a value of a comparison as JSON has it, which knows no infinity."""
    if isinstance(value, dict):
        return {key: _plain(child) for key, child in value.items()}
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def _print(images: list[Path], compared: list[ImageComparison]) -> None:
    from rich.console import Console
    from rich.table import Table

    from ..text import printable

    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in _COLUMNS:
        table.add_column(column, overflow="fold", no_wrap=column in ("difference", ""))
    for path, line in zip(images, compared, strict=True):
        table.add_row(
            printable(path.name, line=True),
            f"{line.width}x{line.height}",
            "not compared" if line.pixels is None else f"{line.pixels:.2g}",
            ", ".join(f"{layer}:\xa0{difference:.2g}" for layer, difference in line.states.items()),
            *map(str, (line.planned, line.rows, line.expected)),
            f"{line.difference:.2g}",
            "equal" if line.equal else "DIFFERENT",
        )
    Console(soft_wrap=True).print(table, highlight=False)
