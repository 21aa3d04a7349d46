"""Warnings: what is allowed in a config, and yet probably not meant."""

from __future__ import annotations

import os

from ...errors import Problem
from ..config import TowerConfig
from ..encoders import ENCODER_CONFIGS
from ..fusion import AnyConfig
from ..paths import is_weights_path
from ..weights import UNPINNED, SourceConfig, WeightsConfig, is_commit
from .nodes import Loc, Node, find

_REVISION_OF = {"source": "revision", "adapter": "adapter_revision"}


def warnings_of(config: AnyConfig, tree: Node) -> list[Problem]:
    """What is probably not meant in a valid config.

    Args:
        config: What ``validate_tree`` made of ``tree``.
        tree: Where its values stand. A warning about a value that another file wrote stands at the start of
            the outermost file: that is the one that can do something about it.
    """
    found: list[tuple[str, str, Loc]] = []
    for name, tower in config.towers_by_name.items():
        where: Loc = ("towers", name) if name else ()
        weights = _weights_at(where, config, tree)
        found += _source(f"tower {name}".rstrip(), tower.weights, weights)
        found += _adapter(tower.weights, weights)
        found += [(code, message, (*where, *path)) for code, message, path in _encoder(tower)]
        found += [(code, message, (*where, *path)) for code, message, path in _layers(tower)]
    for what, where, source in config.weights_beside:
        found += _source(what, source, (*where, "weights"))
    meant = (warning for warning in found if not _said_here(tree, warning[2]))
    return [_located(tree, code, message, path) for code, message, path in meant]


def _weights_at(where: Loc, config: AnyConfig, tree: Node) -> Loc:
    """Where the weights of a tower are named: at the root, if they are those of all towers."""
    own = (*where, "weights")
    _, depth = find(tree, (*own, "source"))
    return ("weights",) if depth <= len(own) and config.weights.source is not None else own


def _said_here(tree: Node, path: Loc) -> bool:
    """Whether the outermost file itself says ``unpinned`` of the source at a path: none can for others."""
    path = (*path[:-1], _REVISION_OF.get(str(path[-1]), path[-1]))
    node, depth = find(tree, path)
    return depth == len(path) and node.value == UNPINNED and not _from_elsewhere(tree, node)


def _from_elsewhere(tree: Node, node: Node) -> bool:
    """Whether a value was written by a file that the outermost one extends."""
    place = node.place or node.key
    return bool(place and tree.place and place.source.name != tree.place.source.name)


def _encoder(config: TowerConfig) -> list[tuple[str, str, Loc]]:
    model_type = config.encoder.model_type
    if not config.encoder.generic or model_type not in ENCODER_CONFIGS:
        return []
    message = f"the generic adapter runs this {model_type}; without this key its own family does"
    return [("VC305", message, ("encoder", "prefix_tokens"))]


def _adapter(weights: WeightsConfig, path: Loc) -> list[tuple[str, str, Loc]]:
    if weights.adapter is None:
        return []
    key = "adapter" if weights.hub_adapter_revision is None else "adapter_revision"
    return _unpinned("adapter", weights.adapter, weights.hub_adapter_revision, (*path, key))


def _source(what: str, weights: SourceConfig, path: Loc) -> list[tuple[str, str, Loc]]:
    if weights.source is None:
        message = f"no source: the {what} starts from random weights; name a hub id, a folder or a file"
        return [("VC301", message, path)]
    key = "source" if weights.hub_revision is None else "revision"
    return _unpinned("weights", weights.source, weights.hub_revision, (*path, key))


def _unpinned(what: str, source: str, revision: str | None, path: Loc) -> list[tuple[str, str, Loc]]:
    on_hub = not (is_weights_path(source) or os.path.exists(source))
    if not on_hub or is_commit(revision or ""):
        return []
    now = f"revision {revision!r} can move" if revision else f"{source} has no revision"
    them = "them" if what == "weights" else "it"
    message = f"{now}: the {what} can change under this config; pin {them} by the 40 digits of a commit"
    return [("VC302", message, path)]


def _layers(config: TowerConfig) -> list[tuple[str, str, Loc]]:
    layers, depth = config.resolved_layers, config.encoder.num_hidden_layers
    found: list[tuple[str, str, Loc]] = []
    if config.post_norm == "last" and depth not in layers:
        message = f"no effect: it norms hidden state {depth} (-1), which select_layers leaves out; write none"
        found.append(("VC303", message, ("post_norm",)))
    first: dict[int, int] = {}
    for i, layer in enumerate(layers):
        if first.setdefault(layer, i) != i:
            message = f"hidden state {layer} is already item {first[layer]}; it is returned twice"
            found.append(("VC304", message, ("select_layers", i)))
    return found


def _located(tree: Node, code: str, message: str, path: Loc) -> Problem:
    node, _ = find(tree, path)
    place = node.place or node.key
    if place and tree.place and _from_elsewhere(tree, node):
        where = f" (set at {place.span})"
        return tree.place.problem(code, message + where, path)
    return node.problem(code, message, path)
