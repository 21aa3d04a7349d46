"""How transformers' vision-language models read their towers: which layer, and which tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..errors import ConfigError, Problem
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


_MOLMO2_LAYERS = (24, 18)
"""Default of the blocks that Molmo2 reads, counted from 0."""

_SEEING = {"t5gemma2": "encoder"}
"""model_type -> the field of its config.json that holds what another model's config.json does."""


def seeing_part(fields: JsonObject) -> JsonObject:
    """Return the part of a config.json that has the tower; all of it for most models.

    That is the thinker of an omni model, and one of two models in a pair.

    Raises:
        ConfigError: If it says layers that are no numbers.
    """
    name = fields.get("model_type")
    if name == "molmo2":
        return _molmo2(fields)
    if name == "phi4_multimodal":
        return _phi4_multimodal(fields)
    thinker = fields.get("thinker_config")
    part = thinker or fields.get(_SEEING.get(str(name), ""))
    if not isinstance(part, Mapping):
        return fields
    dtypes = {key: fields[key] for key in ("dtype", "torch_dtype") if key in fields}
    if thinker is not None:
        return {"model_type": f"{name}_thinker", **dtypes, **part}
    return {**dtypes, **part, "model_type": name}


def _molmo2(fields: JsonObject) -> JsonObject:
    """Return Molmo2's config.json with its layers as those of other models: hidden states, beside the tower.

    As transformers does, blocks of a ``vit_config``, the older name, end at the deepest that is read.
    """
    adapter, vision = fields.get("adapter_config"), fields.get("vision_config", fields.get("vit_config"))
    own = adapter if isinstance(adapter, Mapping) else {}
    key = "vit_layers" if "vit_layers" in own else "vision_feature_layer"
    blocks = own.get(key) or _MOLMO2_LAYERS
    if not isinstance(blocks, (list, tuple)) or not all(isinstance(block, int) for block in blocks):
        message = f"expected a list of blocks, got {repr(blocks)[:80]}"
        raise ConfigError(Problem("VC104", message, f"adapter_config.{key}"))
    if not isinstance(vision, Mapping):
        return fields
    depth = vision.get("num_hidden_layers")
    if "vision_config" not in fields and isinstance(depth, int) and depth > 0:
        blocks = [block % depth for block in blocks]
        vision = {**vision, "num_hidden_layers": max(blocks) + 1}
    layers = [block + 1 if block >= 0 else block for block in blocks]
    rest = {key: value for key, value in fields.items() if key != "vit_config"}
    return {**rest, "vision_config": vision, "vision_feature_layer": layers}


def _phi4_multimodal(fields: JsonObject) -> JsonObject:
    """Return Phi-4-multimodal's config.json with the layer that it reads where other models have it."""
    vision = fields.get("vision_config")
    if not isinstance(vision, Mapping) or "feature_layer" not in vision:
        return fields
    rest = {key: value for key, value in vision.items() if key != "feature_layer"}
    return {**fields, "vision_config": rest, "vision_feature_layer": vision["feature_layer"]}
