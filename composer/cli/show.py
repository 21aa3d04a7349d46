"""``vision-composer show``, ``explain`` and ``diff``: what a config says, why, and how two differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Config, Overrides, Plugins, Root
from .output import echo

if TYPE_CHECKING:
    from ..planning import VisionPlan
    from ..schemas.yaml.nodes import Node

_ABSENT = "(absent)"


def show(
    config: Config,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Write out every key that has its default, too.")
    ] = False,
    set_: Overrides = None,
    root: Root = None,
    plugin: Plugins = None,
) -> None:
    """Print a config as one YAML file: what it extends and its references worked in."""
    from ..presets import load_config
    from ..schemas.yaml.dump import to_yaml

    loaded = load_config(config, overrides=set_ or (), root=root)
    # As bytes, so that a file gets every character as it is.
    echo(to_yaml(loaded.resolved() if resolved else loaded.to_dict()).encode(), nl=False)


def explain(
    config: Config,
    key: Annotated[
        str,
        typer.Argument(metavar="KEY", help="Such as encoder.image_size, select_layers[0], or a whole block."),
    ],
    set_: Overrides = None,
    root: Root = None,
    plugin: Plugins = None,
) -> None:
    """Say where a value comes from, and which values it was laid over."""
    from ..presets import preset_path
    from ..schemas import load_tree, validate_tree
    from ..schemas.yaml.nodes import find
    from ..text import did_you_mean

    tree = load_tree(config, overrides=set_ or (), find_preset=preset_path, root=root)
    leaves = dict(_leaves(validate_tree(tree).resolved()))
    block = {
        path: value
        for path, value in leaves.items()
        if path == key or path.startswith((f"{key}.", f"{key}["))
    }
    if not block:
        hint = did_you_mean(key, leaves)
        raise typer.BadParameter(f"this config has no {key!r}{hint}", param_hint="KEY")
    for path, value in block.items():
        echo(f"{path}: {_inline(value)}")
        steps = path.replace("[", ".").replace("]", "").split(".")
        node, depth = find(tree, [int(step) if step.isdecimal() else step for step in steps])
        for line in _history(node) if depth == len(steps) else ["default"]:
            echo(f"  {line}")


def diff(
    a: Annotated[
        str, typer.Argument(metavar="A", help="A preset's name, a YAML file, or a saved tower's folder.")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    root: Root = None,
    plugin: Plugins = None,
) -> None:
    """Print what differs between two configs: values, defaults included, and what they amount to."""
    from ..planning import plan
    from ..presets import load_config

    old, new = (plan(load_config(config, root=root)) for config in (a, b))
    _print_changes(_values(old), _values(new))
    if _facts(old) != _facts(new):
        echo("plan:")
        _print_changes(_facts(old), _facts(new), indent="  ")


def _values(plan: VisionPlan) -> dict[str, str]:
    return {path: _inline(value) for path, value in _leaves(plan.config.resolved(), lists=False)}


def _facts(plan: VisionPlan) -> dict[str, str]:
    side = plan.image_size
    numbers = {
        "width": plan.output_width,
        "tokens": plan.num_tokens(side, side),
        "blocks": plan.num_blocks,
        "parameters": plan.num_parameters,
        "bytes": plan.num_bytes,
    }
    return {name: "unknown" if number is None else f"{number:,}" for name, number in numbers.items()}


def _print_changes(a: Mapping[str, str], b: Mapping[str, str], indent: str = "") -> None:
    for path in dict.fromkeys((*a, *b)):
        old, new = a.get(path, _ABSENT), b.get(path, _ABSENT)
        if old != new:
            echo(f"{indent}{path}: {old} -> {new}")


def _leaves(value: Any, path: str = "", lists: bool = True) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from _leaves(child, f"{path}.{key}" if path else key, lists)
    elif isinstance(value, list) and value and lists:
        for i, child in enumerate(value):
            yield from _leaves(child, f"{path}[{i}]", lists)
    else:
        yield path, value


def _history(node: Node) -> Iterator[str]:
    for word, each in zip(("set at", *["over"] * len(node.below)), (node, *node.below), strict=True):
        place = each.place or each.key
        line = place.source.line(place.span) if place else None
        yield f"{word} {place.span if place else 'a Python value'}" + (f": {line.strip()}" if line else "")


def _inline(value: Any) -> str:
    from ..schemas.yaml.dump import inline

    return inline(value)
