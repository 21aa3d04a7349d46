"""Warnings: what is allowed in a config, and yet probably not meant."""

from __future__ import annotations

import os

from ...errors import Problem
from ..config import TowerConfig
from ..encoders import ENCODER_CONFIGS
from ..fusion import AnyConfig
from ..paths import is_weights_path
from ..weights import SourceConfig, WeightsConfig, is_commit
from .nodes import Loc, Node, find


def warnings_of(config: AnyConfig, tree: Node) -> list[Problem]:
    """What is probably not meant in a valid config.

    Args:
        config: What ``validate_tree`` made of ``tree``.
        tree: Where its values stand. A warning about a value that another file wrote stands at the start of
            the outermost file: that is the one that can do something about it.
    """
    found = [
        (code, message, (*(("towers", name) if name else ()), *path))
        for name, tower in config.towers_by_name.items()
        for code, message, path in (
            *_encoder(tower),
            *_source(f"tower {name}".rstrip(), tower.weights, ("weights",)),
            *_adapter(tower.weights),
            *_layers(tower),
        )
    ]
    found += [
        (code, message, (*where, "weights", *path))
        for what, where, weights in config.weights_beside
        for code, message, path in _source(what, weights, ())
    ]
    return [_located(tree, code, message, path) for code, message, path in found]


def _encoder(config: TowerConfig) -> list[tuple[str, str, Loc]]:
    model_type = config.encoder.model_type
    if not config.encoder.generic or model_type not in ENCODER_CONFIGS:
        return []
    message = f"the generic adapter runs this {model_type}; without this key its own family does"
    return [("VC305", message, ("encoder", "prefix_tokens"))]


def _adapter(weights: WeightsConfig) -> list[tuple[str, str, Loc]]:
    if weights.adapter is None:
        return []
    key = "adapter" if weights.adapter_revision is None else "adapter_revision"
    return _unpinned("adapter", weights.adapter, weights.adapter_revision, ("weights", key))


def _source(what: str, weights: SourceConfig, path: Loc) -> list[tuple[str, str, Loc]]:
    if weights.source is None:
        message = f"no source: the {what} starts from random weights; name a hub id, a folder or a file"
        return [("VC301", message, path)]
    key = "revision" if weights.revision else "source"
    return _unpinned("weights", weights.source, weights.revision, (*path, key))


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
    if place and tree.place and place.source.name != tree.place.source.name:
        first = tree.place
        where = f" (set at {place.span})"
        return first.problem(code, message + where, path)
    return node.problem(code, message, path)
