"""From a source to a validated config: layers, overrides, references, relative paths, then pydantic."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...errors import ConfigError, Problem
from ..base import ConfigModel, Origin
from ..config import TowerConfig
from ..fusion import AnyConfig, FusedConfig
from ..paths import TOWER_FILE, absolute_weights, config_file, looks_like_path
from ..root import RootConfig
from .extends import FindPreset, Layers
from .interpolation import interpolate
from .nodes import Node, from_python
from .overrides import apply_override
from .problems import capped, located, problems_of, unfilled

ConfigSource = str | os.PathLike[str] | Mapping[str, Any] | AnyConfig
"""What a config is loaded from: a preset's name, a path, a mapping, or a config."""


def load_config(
    source: ConfigSource,
    *,
    overrides: Iterable[str] = (),
    find_preset: FindPreset,
    root: str | os.PathLike[str] | None = None,
) -> AnyConfig:
    """A validated config from wherever it is.

    Args:
        source: A YAML file, a saved tower's folder, a preset's name, a mapping (an OmegaConf one, too), or a
            config. A string that names an existing file or saved tower means that, even if there is a preset
            of the same name.
        overrides: ``key=value`` and ``~key``, applied in order on top; see ``apply_override``.
        find_preset: The file of a preset, by name.
        root: The folder that holds every file it may extend, besides presets; None for the folder of the
            file itself, or the current directory for a mapping.

    Raises:
        ConfigError: If anything is wrong with it; holds every problem, each at its position.
    """
    overrides = [overrides] if isinstance(overrides, str) else list(overrides)
    if isinstance(source, ConfigModel) and not overrides:
        return source
    config = validate_tree(load_tree(source, overrides=overrides, find_preset=find_preset, root=root))
    config._origin = replace(config._origin, file=_file(source, find_preset))
    return config


def load_tree(
    source: ConfigSource | Node,
    *,
    overrides: Iterable[str] = (),
    find_preset: FindPreset,
    root: str | os.PathLike[str] | None = None,
) -> Node:
    """The located values of a config, merged, overridden and resolved, but not validated.

    Args:
        source: As for ``load_config``, or what ``load_yaml`` made of a text.
        overrides: As for ``load_config``.
        find_preset: As for ``load_config``.
        root: As for ``load_config``.

    Raises:
        ConfigError: If a layer, an override or a reference cannot be read.
    """
    layers = Layers(find_preset, Path(root) if root is not None else None)
    tree = _source_tree(source, layers, find_preset)
    for override in overrides:
        tree = apply_override(tree, override)
    tree = layers.with_towers(tree, Path.cwd())  # of which an override may name another
    if problems := unfilled(tree):
        raise ConfigError(capped(problems))
    return _with_absolute_paths(interpolate(tree))


def validate_tree(tree: Node) -> AnyConfig:
    """The config that a tree of located values means: of several towers if it says ``towers``.

    Raises:
        ConfigError: If anything is wrong with it; holds every problem, each at its position.
    """
    # pydantic also takes the field by its Python name; in a file only the alias is a key.
    if stray := tree.child("schema_version"):
        place = stray.key or stray
        raise ConfigError(place.problem("VC101", "unknown key (did you mean 'schema'?)", ("schema_version",)))
    try:
        shape = TowerConfig if tree.child("towers") is None else FusedConfig
        config: AnyConfig = shape.model_validate(tree.plain())
    except ValidationError as error:
        raise ConfigError(problems_of(error, tree)) from None
    config._origin = Origin(partial(located, tree=tree))
    return config


def _source_tree(source: ConfigSource | Node, layers: Layers, find_preset: FindPreset) -> Node:
    if isinstance(source, Node):
        return layers.merged(source, Path.cwd())
    if isinstance(source, str | os.PathLike):
        return layers.read(_locate(source, find_preset))
    if isinstance(source, ConfigModel | Mapping):
        tree = from_python(source)
        if isinstance(tree.value, dict):
            return layers.merged(tree, Path.cwd())
    message = f"a config comes from a preset's name, a path or a mapping, not from {type(source).__name__}"
    raise ConfigError(Problem("VC010", message))


def _file(source: ConfigSource, find_preset: FindPreset) -> Path | None:
    """The file that a config is loaded from; of a config that is changed, its own."""
    if isinstance(source, RootConfig):
        return source.file
    return _locate(source, find_preset).absolute() if isinstance(source, str | os.PathLike) else None


def _locate(source: str | os.PathLike[str], find_preset: FindPreset) -> Path:
    text = os.fspath(source)
    path = config_file(text)
    if path is not None:
        return path
    if isinstance(source, str) and not looks_like_path(source):
        return find_preset(source)
    missing = (
        f"the folder {text!r} holds no {TOWER_FILE}" if os.path.isdir(text) else f"no such file: {text!r}"
    )
    raise ConfigError(Problem("VC010", missing))


def _with_absolute_paths(tree: Node) -> Node:
    """Paths relative to the folder of the file that wrote them become absolute."""
    for key in ("source", "adapter"):
        tree = _replace_text(tree, ("weights", key), absolute_weights)
    tree = _replace_text(tree, ("connector", "weights", "source"), absolute_weights)
    for block, key in (("towers", "source"), ("towers", "adapter"), ("project", "source")):
        tree = _in_each(tree, block, ("weights", key))
    return _replace_text(
        tree,
        ("parallel", "cost_table"),
        lambda path, folder: os.path.abspath(os.path.join(folder or "", path)),
    )


def _in_each(tree: Node, block: str, keys: tuple[str, ...]) -> Node:
    """``tree`` with the path below ``keys`` of every entry of a block made absolute."""
    entries = tree.child(block)
    for name in entries.value if entries is not None and isinstance(entries.value, dict) else ():
        tree = _replace_text(tree, (block, name, *keys), absolute_weights)
    return tree


def _replace_text(node: Node, keys: tuple[str, ...], absolute: Callable[[str, Path | None], str]) -> Node:
    """``node`` with the text below ``keys`` made absolute, if there is one."""
    if not keys:
        if not isinstance(node.value, str):
            return node
        return replace(node, value=absolute(node.value, node.place.source.folder if node.place else None))
    child = node.child(keys[0])
    if child is None:
        return node
    return replace(node, value={**node.value, keys[0]: _replace_text(child, keys[1:], absolute)})
