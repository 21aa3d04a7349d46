"""The config.json that a checkpoint brings, held against ours: an epsilon changes features and no shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..encoders import OTHER_NAMES, AnyFamily
from ..errors import WeightsError
from ..schemas import EncoderConfig
from .source import Checkpoint

_TRAINING_ONLY = re.compile(
    r"dropout|drop_path|initializer|^pos_embed_|^layer_?scale|^projection_dim$|mask_token|head$|"
    r"^vision_output_dim$|^vision_feature_|^multi_modal_"
)
"""Fields of an encoder block that do not change what an inference of the tower computes."""

_CUT = {"num_hidden_layers", "depth", "deepstack_visual_indexes"}
"""Fields that say how much of an encoder there is: here, or in a saved tower, perhaps only what is used."""


def check_own_config(checkpoint: Checkpoint, family: AnyFamily, encoder: EncoderConfig) -> None:
    """Refuse a checkpoint whose own config.json contradicts the encoder block.

    Raises:
        WeightsError: It does; names the field and both values.
    """
    own = _tower_config(checkpoint.config(), encoder.model_type)
    if own is None:
        return
    ours = family.transformers_config(encoder, encoder.num_hidden_layers, head=encoder.has_head)
    try:
        theirs = type(ours).from_dict({**own, "model_type": encoder.model_type})
    except Exception as error:  # values of any type reach transformers' code
        raise WeightsError(f"{checkpoint.label}: transformers refuses its config.json: {error}") from error
    for key in family.compared_fields(encoder, ours):
        if _TRAINING_ONLY.search(key) or not hasattr(ours, key):
            continue
        value, expected = _plain(getattr(theirs, key, None)), _plain(getattr(ours, key))
        if value != expected and not (key in _CUT and (not expected or checkpoint.is_saved_tower)):
            raise WeightsError(
                f"{checkpoint.label}: its config.json means {key}: {value!r}, and this config says "
                f"encoder.{key}: {expected!r}"
            )


def _tower_config(own: Any, model_type: str) -> Mapping[str, Any] | None:
    """The tower's part of a config.json, which may be a vision-language model's; None if there is none."""
    if not isinstance(own, Mapping):
        return None
    if own.get("model_type") == model_type:
        return own
    nested = own.get("vision_config")
    if isinstance(nested, Mapping):
        name = nested.get("model_type", model_type)
        return nested if OTHER_NAMES.get(name, name) == model_type else None
    return None


def _plain(value: Any) -> Any:
    """JSON knows no tuples, and writes some square sizes as pairs."""
    if isinstance(value, (list, tuple)):
        return value[0] if len(value) == 2 and value[0] == value[1] else list(value)
    return value
