"""The config.json that a checkpoint brings, held against ours: an epsilon changes features and no shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..encoders import AnyFamily
from ..errors import WeightsError
from ..schemas import EncoderConfig
from .source import Checkpoint


def check_own_config(checkpoint: Checkpoint, family: AnyFamily, encoder: EncoderConfig) -> None:
    """Refuse a checkpoint whose own config.json contradicts the encoder block.

    Raises:
        WeightsError: It does; names the field and both values.
    """
    own = _tower_config(checkpoint.config(), family, encoder)
    if own is None:
        return
    ours = family.transformers_config(encoder, encoder.num_hidden_layers, head=encoder.has_head)
    try:
        theirs = type(ours).from_dict({**own, "model_type": ours.model_type})
    except Exception as error:  # values of any type reach transformers' code
        raise WeightsError(f"{checkpoint.label}: transformers refuses its config.json: {error}") from error
    for key in sorted(family.compared_fields(encoder, ours)):
        if encoder.is_inert(key) or not hasattr(ours, key):
            continue
        value, expected = _plain(getattr(theirs, key, None)), _plain(getattr(ours, key))
        cut = key in encoder.depth_fields and (not expected or checkpoint.is_saved_tower)
        if value != expected and not cut:
            raise WeightsError(
                f"{checkpoint.label}: its config.json means {key}: {value!r}, and this config says "
                f"encoder.{key}: {expected!r}"
            )


def _tower_config(own: Any, family: AnyFamily, encoder: EncoderConfig) -> Mapping[str, Any] | None:
    """The tower's part of a config.json, which may be a vision-language model's; None if there is none."""
    if not isinstance(own, Mapping):
        return None
    names = encoder.model_types() or (encoder.model_type,)
    if own.get("model_type") in names:
        return own
    nested = own.get("vision_config")
    if isinstance(nested, Mapping) and nested.get("model_type", names[0]) in (*names, *family.other_names):
        return nested
    return None


def _plain(value: Any) -> Any:
    """JSON knows no tuples, and writes some square sizes as pairs."""
    if isinstance(value, (list, tuple)):
        return value[0] if len(value) == 2 and value[0] == value[1] else list(value)
    return value
