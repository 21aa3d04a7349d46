"""``vision-composer show`` and ``explain``: what a config says, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Config, Overrides, Plugins, Root
from .output import echo

if TYPE_CHECKING:
    from ..schemas.yaml.nodes import Node


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
    from ..schemas.yaml.dump import inline
    from ..schemas.yaml.nodes import find
    from ..text import did_you_mean

    tree = load_tree(config, overrides=set_ or (), find_preset=preset_path, root=root)
    values = dict(leaves(validate_tree(tree).resolved()))
    block = {
        path: value
        for path, value in values.items()
        if path == key or path.startswith((f"{key}.", f"{key}["))
    }
    if not block:
        hint = did_you_mean(key, values)
        raise typer.BadParameter(f"this config has no {key!r}{hint}", param_hint="KEY")
    for path, value in block.items():
        echo(f"{path}: {inline(value)}")
        steps = path.replace("[", ".").replace("]", "").split(".")
        node, depth = find(tree, [int(step) if step.isdecimal() else step for step in steps])
        for line in _history(node) if depth == len(steps) else ["default"]:
            echo(f"  {line}")


def leaves(value: Any, path: str = "", *, lists: bool = True) -> Iterator[tuple[str, Any]]:
    """Yield every value of nested mappings (and lists, if asked) under its dotted path."""
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from leaves(child, f"{path}.{key}" if path else key, lists=lists)
    elif isinstance(value, list) and value and lists:
        for i, child in enumerate(value):
            yield from leaves(child, f"{path}[{i}]")
    else:
        yield path, value


def _history(node: Node) -> Iterator[str]:
    for word, each in zip(("set at", *["over"] * len(node.below)), (node, *node.below), strict=True):
        place = each.place or each.key
        line = place.source.line(place.span) if place else None
        yield f"{word} {place.span if place else 'a Python value'}" + (f": {line.strip()}" if line else "")
