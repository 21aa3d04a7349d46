"""List the encoders, feature selectors and attention backends that configs can name, with their origin."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .attention import AttentionBackend
from .encoders import FAMILIES, family_of_plugin
from .errors import PluginError
from .registry import BUILT_IN, Origin, Registry
from .schemas import (
    ATTENTION_BACKEND_PLUGINS,
    ATTN_BACKENDS,
    ENCODER_PLUGINS,
    FEATURE_SELECT_STRATEGIES,
    FEATURE_SELECTOR_PLUGINS,
)
from .tower.selection import get_vision_feature_selector


@dataclass(frozen=True)
class Registered:
    """One name that a config can use.

    Attributes:
        kind: ``encoder``, ``feature selector`` or ``attention backend``.
        name: The name in configs.
        source: The distribution that brings it, or ``built in``, ``--plugin MODULE`` or ``Python call``.
        version: The distribution's version; None if it has none.
        file: The file of the module that defines it; None if the module has no file.
    """

    kind: str
    name: str
    source: str
    version: str | None
    file: str | None


def registered() -> tuple[list[Registered], list[PluginError]]:
    """Return all names, by kind, built-in ones first, and an error for every plugin that cannot be used."""
    found: list[Registered] = []
    errors: list[PluginError] = []
    for registry, built_in in _KINDS:
        for name, thing in built_in.items():
            found.append(_entry(registry.kind, name, thing, BUILT_IN))
        for result in _plugins(registry):
            if isinstance(result, PluginError):
                errors.append(result)
            else:
                found.append(result)
    return found, errors


def _plugins(registry: Registry[Any]) -> Iterator[Registered | PluginError]:
    try:
        names = registry.names()
    except PluginError as error:
        yield error
        return
    for name in names:
        try:
            thing = family_of_plugin(name) if registry is ENCODER_PLUGINS else registry.get(name)
            yield _entry(registry.kind, name, thing, registry.origin(name))
        except PluginError as error:
            yield error


def _entry(kind: str, name: str, thing: object, origin: Origin) -> Registered:
    module = sys.modules.get(getattr(thing, "__module__", None) or type(thing).__module__)
    return Registered(kind, name, origin.source, origin.version, getattr(module, "__file__", None))


_KINDS: tuple[tuple[Registry[Any], Mapping[str, Any]], ...] = (
    (ENCODER_PLUGINS, FAMILIES),
    (FEATURE_SELECTOR_PLUGINS, dict.fromkeys(FEATURE_SELECT_STRATEGIES, get_vision_feature_selector)),
    (ATTENTION_BACKEND_PLUGINS, {name: AttentionBackend(name) for name in ATTN_BACKENDS}),
)
