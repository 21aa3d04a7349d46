"""How transformers' vision-language models read their towers: which layer, and which tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .aliases import JsonObject


@dataclass(frozen=True)
class Reading:
    """How a vision-language model reads its tower if its config.json does not say.

    Attributes:
        layer: Default of vision_feature_layer; None if the model reads the tower's own output.
        strategy: Default of vision_feature_select_strategy; without a layer, what the model always uses.
        chooses: Whether the model's config can choose another strategy.
        last_is_normed: Whether the model's layer -1 means last_hidden_state.
        prefix: Name of the tower's module, for a model that has two such towers.
    """

    layer: int | tuple[int, ...] | None = None
    strategy: Literal["default", "full"] = "full"
    chooses: bool = True
    last_is_normed: bool = False
    prefix: str | None = None


def thinker_of(fields: JsonObject) -> JsonObject:
    """Return the part of an omni model's config.json that has its tower; all of another model's."""
    thinker = fields.get("thinker_config")
    if not isinstance(thinker, Mapping):
        return fields
    dtypes = {key: fields[key] for key in ("dtype", "torch_dtype") if key in fields}
    return {"model_type": f"{fields.get('model_type')}_thinker", **dtypes, **thinker}
