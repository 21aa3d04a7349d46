"""The sources that a config names, wherever in it they stand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from ..schemas import AnyConfig
from ..schemas.weights import SourceConfig, WeightsConfig

_M = TypeVar("_M", bound=BaseModel)


@dataclass(frozen=True)
class Source:
    """What weights are read from.

    Attributes:
        source: A hub id, or an absolute path.
        asked: Branch, tag or commit of a hub id; None for its default branch, and for a path.
        file_format: Which of its weights are read.
    """

    source: str
    asked: str | None
    file_format: Literal["safetensors", "pickle"] = "safetensors"


def sources_of(config: AnyConfig) -> list[Source]:
    """Return every source of a config once, in the order of the config; adapters, too."""
    found: dict[Source, None] = {}

    def note(weights: SourceConfig) -> SourceConfig:
        if weights.source is not None:
            found[Source(weights.source, weights.hub_revision, weights.format)] = None
        if isinstance(weights, WeightsConfig) and weights.adapter is not None:
            found[Source(weights.adapter, weights.hub_adapter_revision)] = None
        return weights

    _mapped(config, note)
    return list(found)


def with_revisions(config: AnyConfig, revision_of: Callable[[Source], str | None]) -> AnyConfig:
    """Return a config with other revisions.

    Args:
        config: A config.
        revision_of: The revision of a source; None to leave it.
    """

    def change(weights: SourceConfig) -> SourceConfig:
        update = {}
        if weights.source is not None:
            update["revision"] = revision_of(Source(weights.source, weights.hub_revision, weights.format))
        if isinstance(weights, WeightsConfig) and weights.adapter is not None:
            adapter = Source(weights.adapter, weights.hub_adapter_revision)
            update["adapter_revision"] = revision_of(adapter)
        return weights.model_copy(update={key: value for key, value in update.items() if value})

    return _mapped(config, change)


def _mapped(model: _M, change: Callable[[SourceConfig], SourceConfig]) -> _M:
    """Return a model with every block of weights in it changed."""
    update = {name: _changed(getattr(model, name), change) for name in type(model).model_fields}
    other = {name: value for name, value in update.items() if value is not getattr(model, name)}
    return model.model_copy(update=other) if other else model


def _changed(value: Any, change: Callable[[SourceConfig], SourceConfig]) -> Any:
    if isinstance(value, SourceConfig):
        return value if value is (new := change(value)) or new == value else new
    if isinstance(value, BaseModel):
        return _mapped(value, change)
    if isinstance(value, dict):
        children = {key: _changed(child, change) for key, child in value.items()}
        return children if any(children[key] is not value[key] for key in value) else value
    return value
