"""From each version of the format to the next: what ``vision-composer migrate`` changes in a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...errors import ConfigError
from ...text import did_you_mean
from ..base import MOST_PROBLEMS
from ..config import TowerConfig
from ..fusion import FusedConfig
from ..root import SCHEMA_VERSION, newer_schema
from .nodes import Node
from .problems import capped
from .reading import load_yaml
from .rewrite import rewritten

Migration = Callable[[dict[str, Any]], None]
"""Changes a file's keys in place, from one version to the next; sets no ``schema``.

It is called with plain values and with ruamel's tree, whose mappings are dicts with comments, and may use on
them what a dict has, and :func:`rename`.
"""
Inherits = Callable[[Node], Node]
"""A file's tree -> the same, merged over what it extends."""


def rename(block: dict[str, Any], old: str, new: str) -> None:
    """Give a key of ``block`` another name; it keeps its place and its comments."""
    if not hasattr(block, "ca"):  # plain values
        block[new] = block.pop(old)
        return
    place, comments = list(block).index(old), block.ca.items.pop(old, None)
    block.insert(place, new, block.pop(old))  # type: ignore[attr-defined]  # a map of ruamel's, typed a dict
    if comments is not None:
        block.ca.items[new] = comments


def _to_1(config: dict[str, Any]) -> None:
    """Files that do not say their version, or say it as the Python field is called."""
    if "schema_version" in config:
        rename(config, "schema_version", "schema")


MIGRATIONS: dict[int, Migration] = {0: _to_1}
"""Version -> how a file of it becomes one of the next. A file without ``schema`` is of version 0."""


def is_current(content: bytes, source: str, inherits: Inherits | None = None) -> bool:
    """Whether a config file is of the current version.

    Args:
        content: The file.
        source: What errors call it.
        inherits: Lays a file over what it extends: one that names no version has that of the files below
            it, as for :func:`load_config`. None: what it extends does not count.

    Raises:
        ConfigError: If it cannot be read, is newer than this package, or is no config; or from ``inherits``.
    """
    return _version(load_yaml(content, source), inherits) == SCHEMA_VERSION


def migrated(content: bytes, source: str, inherits: Inherits | None = None) -> bytes:
    """A config file as one of the current version; a current one is returned as it is.

    Args:
        content: The file.
        source: What errors call it.
        inherits: As for :func:`is_current`.

    Raises:
        ConfigError: For the reasons of :func:`is_current`, or if ruamel.yaml cannot rewrite it.
        MissingDependencyError: If ruamel.yaml is not installed.
    """
    version = _version(load_yaml(content, source), inherits)
    if version == SCHEMA_VERSION:
        return content

    def change(config: dict[str, Any]) -> None:
        for step in range(version, SCHEMA_VERSION):
            MIGRATIONS[step](config)
            if "schema" not in config and hasattr(config, "insert"):
                config.insert(0, "schema", step + 1)
            config["schema"] = step + 1

    return rewritten(content.decode("utf-8"), source, change).encode("utf-8")


def _version(tree: Node, inherits: Inherits | None) -> int:
    """The version that a file says, or what it extends; 0 if neither says one."""
    written = tree.child("schema") or tree.child("schema_version")
    if written is None:
        _check_root(tree)
        if inherits is None or tree.child("extends") is None or not (below := inherits(tree).child("schema")):
            return 0
        written, tree = below, replace(tree, value={"schema": below})
    version = written.value
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        message = f"expected a version, such as {SCHEMA_VERSION}"
        raise ConfigError(written.problem("VC104", message, ("schema",)))
    if version > SCHEMA_VERSION:
        raise ConfigError(written.problem("VC104", newer_schema(version), ("schema",)))
    return version if tree.child("schema") else 0


def _check_root(tree: Node) -> None:
    """Some other YAML file must not be taken for a config that lacks its version."""
    fields = (TowerConfig.model_fields | FusedConfig.model_fields).items()
    keys = {*(field.alias or name for name, field in fields), "extends"}
    unknown = [key for key in tree.value if key not in keys]
    # No more than are reported are compared with the keys there are, which takes its time.
    hints = {key: did_you_mean(key, keys) for key in unknown[:MOST_PROBLEMS]}
    found = []
    for key in unknown:
        child = tree.value[key]
        found.append((child.key or child).problem("VC101", f"unknown key{hints.get(key, '')}", (key,)))
    if not found and not tree.value.keys() & {"encoder", "towers", "extends"}:
        message = "this is no config: it has none of the keys schema, encoder, towers and extends"
        found = [tree.problem("VC102", message)]
    if found:
        raise ConfigError(capped(found))
