"""Layers of a config on top of each other: mappings merge, everything else replaces."""

from __future__ import annotations

from ...errors import ConfigError
from .nodes import Loc, Node


def merge(base: Node, top: Node, path: Loc = ()) -> Node:
    """``top`` over ``base``, by the rules of ``OmegaConf.merge``, with three exceptions.

    An ``encoder`` block with another ``model_type`` replaces the one below it, since the fields of one family
    mean nothing to another. A list over a mapping, or a mapping over a list, is an error. And a mapping over
    a reference replaces it: what it refers to is not known before all layers are.

    Args:
        base: The lower layer.
        top: The upper layer. The result has its positions, and the base's where it has none.
        path: Where the two stand in the config, for errors.

    Raises:
        ConfigError: If a list meets a mapping; names both positions.
    """
    kinds = {list, dict} & {type(base.value), type(top.value)}
    if len(kinds) == 2:
        kind, other = ("list", "mapping") if isinstance(top.value, list) else ("mapping", "list")
        at = f" at {base.place.span}" if base.place else ""
        message = f"a {kind} cannot replace the {other}{at}; write a {other}, or null to clear it first"
        raise ConfigError(top.problem("VC103", message, path))
    if not (isinstance(base.value, dict) and isinstance(top.value, dict)) or _other_family(base, top, path):
        return top.over(base)
    children = dict(base.value)
    for key, child in top.value.items():
        below = children.get(key)
        children[key] = child if below is None else merge(below, child, (*path, key))
    where = top if top.place else base
    return Node(children, where.place, where.key)


def _other_family(base: Node, top: Node, path: Loc) -> bool:
    if path[-1:] != ("encoder",) or len(path) not in (1, 3):  # at the root, or of one of several towers
        return False
    old, new = base.child("model_type"), top.child("model_type")
    return old is not None and new is not None and old.value != new.value
