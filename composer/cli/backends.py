"""``vision-composer backends``: which attention backends run where, and why not the others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .options import Plugins, Root
from .output import echo

if TYPE_CHECKING:
    import torch

    from ..attention import AttentionChoice

Device = Annotated[
    str | None,
    typer.Option(
        "--device", help="Where it would run: cpu, cuda, cuda:1, ... It need not be in this machine."
    ),
]


def backends(
    config: Annotated[
        str | None,
        typer.Argument(
            help="A preset's name, a YAML file, or a saved tower's folder: its dtype and head size."
        ),
    ] = None,
    device: Device = None,
    dtype: Annotated[
        Literal["float32", "float16", "bfloat16"] | None, typer.Option(help="dtype of the parameters.")
    ] = None,
    head_size: Annotated[int | None, typer.Option(min=1, help="Width of an attention head.")] = None,
    packed: Annotated[
        bool, typer.Option("--packed", help="For images of different sizes in one sequence.")
    ] = False,
    training: Annotated[bool, typer.Option("--training", help="With gradients.")] = False,
    plugin: Plugins = None,
    root: Root = None,
    format_: Annotated[Literal["text", "json"], typer.Option("--format", help="How to print it.")] = "text",
) -> None:
    """List the attention backends: which would be chosen, which work, and why the others do not.

    Without CONFIG: for float32, a head size of 64, and batches of images of one size.
    """
    import torch

    from ..attention import select_attn_backend
    from ..planning import only_tower, plan
    from ..presets import load_config
    from ..running.attention import plan_attention

    where = parse_device(device)
    if config is None:
        parameter_dtype = getattr(torch, dtype or "float32")
        choice = select_attn_backend(
            head_size or 64, parameter_dtype, where, packed=packed, training=training
        )
    else:
        if head_size is not None or packed:
            raise typer.BadParameter("--head-size and --packed are the config's own", param_hint="CONFIG")
        overrides = [] if dtype is None else [f"weights.dtype={dtype}"]
        planned = only_tower(plan(load_config(config, overrides=overrides, root=root)))
        packed = planned.info.packed
        choice = plan_attention(planned, where, training=training)
    rows = [*_rows(choice), *_plugin_rows(choice, packed=packed)]
    if format_ == "json":
        echo(json.dumps({"device": str(where), **describe(choice), "backends": rows}, indent=2))
    else:
        _print(rows, choice)


def parse_device(name: str | None) -> torch.device:
    """Return the device of that name; default: torch's default device."""
    import torch

    from ..text import printable

    try:
        return torch.get_default_device() if name is None else torch.device(name)
    except RuntimeError as error:
        first_line = printable(str(error).partition("\n")[0])
        raise typer.BadParameter(f"{name!r} is not a device: {first_line}", param_hint="--device") from None


def describe(choice: AttentionChoice) -> dict[str, Any]:
    """Return a choice as JSON-ready values."""
    return {
        "backend": choice.implementation,
        "reason": choice.reason,
        "note": choice.note,
        "passed_over": {backend.value: reason for backend, reason in choice.passed_over.items()},
    }


def _rows(choice: AttentionChoice) -> list[dict[str, Any]]:
    from ..attention.backends import REQUIREMENTS

    return [
        {
            "name": backend.value,
            "works": backend in choice.working,
            "chosen": backend is choice.backend,
            "reason": choice.reason if backend is choice.backend else choice.passed_over[backend],
        }
        for backend in REQUIREMENTS
    ]


def _plugin_rows(choice: AttentionChoice, *, packed: bool) -> list[dict[str, Any]]:
    from ..attention.backends import plugin_obstacle
    from ..errors import PluginError
    from ..schemas import ATTENTION_BACKEND_PLUGINS

    rows = []
    for name in ATTENTION_BACKEND_PLUGINS.names():
        chosen = name == choice.backend
        try:
            obstacle = plugin_obstacle(name, packed=packed)
        except PluginError as error:
            obstacle = f"cannot be used: {error}"
        reason = obstacle or (choice.reason if chosen else "a plugin's runs only when asked for")
        rows.append({"name": name, "works": obstacle is None, "chosen": chosen, "reason": reason})
    return rows


def _print(rows: list[dict[str, Any]], choice: AttentionChoice) -> None:
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        state = "chosen" if row["chosen"] else "works" if row["works"] else "no"
        echo(f"{row['name']:{width}}  {state:6}  {row['reason']}")
    if choice.note:
        echo(choice.note, err=True)
