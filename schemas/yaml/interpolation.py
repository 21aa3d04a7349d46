"""``${a.b}`` and ``${.sibling}``: resolved by OmegaConf, which is loaded only for a config that has any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ...errors import ConfigError
from .nodes import Loc, Node, dotted

_MOST = 500
"""Values with references, in a config."""
_MOST_TEXT = 8_000
"""Characters of values with references, in a config: OmegaConf's parser takes up to 0.1 ms for each."""


def interpolate(root: Node) -> Node:
    """``root`` with every reference replaced by what it refers to, at the reference's position.

    Raises:
        ConfigError: If a reference calls a resolver or leads nowhere or in a circle, or there are too many.
    """
    strings = dict(_strings(root, ()))
    if not strings:
        return root
    _check_limits(strings)

    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from .references import ReferenceCheck

    ReferenceCheck(root).run()
    try:
        config = OmegaConf.create(root.plain(), flags={"allow_objects": True})
        return _resolved(root, OmegaConf.to_container(config, resolve=True))
    except (OmegaConfBaseException, RecursionError) as error:
        key = getattr(error, "full_key", None)
        path, node = next(((path, node) for path, node in strings.items() if dotted(path) == key), ((), root))
        raise ConfigError(node.problem("VC008", str(error).partition("\n")[0], path)) from None


def _check_limits(strings: Mapping[Loc, Node]) -> None:
    """Refuse more references than can be read in a moment, at the first value that is too much."""
    characters = 0
    for count, (path, node) in enumerate(strings.items(), start=1):
        characters += len(node.value)
        if count > _MOST:
            message = f"a config cannot have more than {_MOST} values with references"
        elif characters > _MOST_TEXT:
            message = f"a config cannot have more than {_MOST_TEXT} characters in values with references"
        else:
            continue
        raise ConfigError(node.problem("VC006", message, path))


def _interpolates(node: Node) -> bool:
    return isinstance(node.value, str) and "${" in node.value


def _strings(node: Node, path: Loc) -> Iterator[tuple[Loc, Node]]:
    if _interpolates(node):
        yield path, node
    for key, child in node.children():
        yield from _strings(child, (*path, key))


def _resolved(node: Node, value: Any) -> Node:
    """``node`` with the values that OmegaConf made of its references, and everything else as it was."""
    if _interpolates(node):
        return _at(node, value)
    if isinstance(node.value, dict):
        return replace(node, value={key: _resolved(child, value[key]) for key, child in node.value.items()})
    if isinstance(node.value, list):
        return replace(
            node, value=[_resolved(child, item) for child, item in zip(node.value, value, strict=True)]
        )
    return node


def _at(node: Node, value: Any) -> Node:
    """``value`` as a tree, all of it at the position of ``node``."""
    if isinstance(value, dict):
        value = {key: _at(node, child) for key, child in value.items()}
    elif isinstance(value, list):
        value = [_at(node, child) for child in value]
    return replace(node, value=value)
