"""``vision-composer plan``: what a config amounts to, before a weight is read."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import typer

from .backends import Device, describe, parse_device
from .options import Config, Overrides, Plugins, Root
from .output import echo


def plan(
    config: Config,
    image_size: Annotated[
        list[str] | None,
        typer.Option("--image-size", metavar="WxH", help="Size in pixels of an image; repeatable."),
    ] = None,
    set_: Overrides = None,
    device: Device = None,
    root: Root = None,
    plugin: Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a config amounts to: layers, widths, tokens, parameters, operations. Reads no weights.

    With --device also which attention backend would run there, and why not the others.
    """
    from ..planning import plan as make_plan
    from ..presets import load_config

    sizes = [parse_size(size, "--image-size") for size in image_size or ()]
    planned = make_plan(load_config(config, overrides=set_ or (), root=root))
    side = planned.image_size
    facts = planned.to_dict(sizes or [(side, side)])
    if device is not None:
        from ..running.attention import plan_attention

        where = parse_device(device)
        for name, tower in planned.towers.items():
            choice = {"device": str(where), **describe(plan_attention(tower, where))}
            (facts["towers"][name] if name else facts)["attention"] = choice
    if as_json:
        echo(json.dumps(facts, indent=2))
    else:
        _print(facts)


def parse_size(text: str, option: str) -> tuple[int, int]:
    """Read the width and height of ``WxH``, the value of ``option``.

    Raises:
        typer.BadParameter: If ``text`` is not of that form.
    """
    match = re.fullmatch(r"(\d{1,9})[xX](\d{1,9})", text)
    if match is None:
        raise typer.BadParameter(
            f"{text!r} is not WIDTHxHEIGHT in pixels, such as 672x1008", param_hint=option
        )
    return int(match[1]), int(match[2])


def _print(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..planning.rows import plan_rows
    from ..text import printable

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for label, text in plan_rows(facts):
        table.add_row(label, Text(printable(text)))
    console = Console(soft_wrap=False)
    title = facts["name"] or "(unnamed config)"
    summary = printable(facts["summary"] or "")
    console.print(Text(printable(title), "bold cyan"), summary, markup=False, highlight=False)
    console.print(table, highlight=False)
