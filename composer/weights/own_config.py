"""The config.json that a checkpoint brings, held against ours: an epsilon changes features and no shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ..encoders import AnyFamily
from ..encoders.reading import seeing_part
from ..errors import WeightsError
from ..schemas import EncoderConfig
from .source import Checkpoint

_Scalar: TypeAlias = (
    bool
    | Annotated[int, Field(ge=-(1 << 31), le=1 << 31)]
    | float
    | Annotated[str, Field(max_length=1_000)]
    | None
)
_Value: TypeAlias = (
    _Scalar
    | Annotated[list[_Scalar | list[_Scalar]], Field(max_length=10_000)]
    | dict[str, _Scalar | list[_Scalar] | dict[str, _Scalar]]
)
_FIELDS = TypeAdapter(dict[str, _Value], config=ConfigDict(strict=True))
"""What a tower's config of transformers consists of."""


def check_own_config(checkpoint: Checkpoint, family: AnyFamily, encoder: EncoderConfig) -> None:
    """Refuse a checkpoint whose own config.json contradicts the encoder block.

    Raises:
        WeightsError: If a field says something else in both; it names the field and both values.
    """
    own = _tower_config(checkpoint.config(), family, encoder)
    if own is None:
        return
    ours = family.transformers_config(encoder, encoder.num_hidden_layers, head=encoder.has_head)
    fields = _fields_of(own, ours, checkpoint.label)
    compared = sorted(
        key
        for key in family.compared_fields(encoder, ours)
        if not encoder.is_inert(key) and hasattr(ours, key)
    )
    # Before transformers sees them: it makes lists of as many items as the config has blocks.
    for key in compared:
        said = fields.get(key)
        if type(said) is int and said > encoder.num_hidden_layers and key in encoder.depth_fields:
            raise _contradiction(checkpoint, key, said, getattr(ours, key))
    try:
        theirs = type(ours).from_dict({**fields, "model_type": ours.model_type})
    except Exception as error:  # values of any type reach transformers' code
        reason = str(error).strip()[:500] or type(error).__name__
        raise WeightsError(f"{checkpoint.label}: transformers refuses its config.json: {reason}") from error
    for key in compared:
        value, expected = _plain(getattr(theirs, key, None)), _plain(getattr(ours, key))
        if value == expected:
            continue
        # Asked last: on a hub it takes a request.
        if not (key in encoder.depth_fields and (not expected or checkpoint.is_saved_tower)):
            raise _contradiction(checkpoint, key, value, expected)


def _contradiction(checkpoint: Checkpoint, key: str, value: Any, expected: Any) -> WeightsError:
    return WeightsError(
        f"{checkpoint.label}: its config.json means {key}: {repr(value)[:200]}, and this config says "
        f"encoder.{key}: {expected!r}"
    )


def _fields_of(own: Mapping[str, Any], ours: Any, label: str) -> dict[str, Any]:
    """Return what a config.json says of the tower alone, under the names that transformers has for it.

    What every config of transformers has beside is left out: it means nothing to a tower, and some of it
    (``num_labels``) is expanded to any size.

    Raises:
        WeightsError: If a value is of a kind or a size that no tower's config has.
    """
    from transformers import PretrainedConfig

    common = {*PretrainedConfig().to_dict(), "num_labels", "torch_dtype", "quantization_config"}
    aliases = type(ours).attribute_map
    fields = {
        aliases.get(key, key): value
        for key, value in own.items()
        if key not in common and key.isidentifier() and not key.startswith("_")
    }
    try:
        return _FIELDS.validate_python(fields)
    except ValidationError as error:
        line = error.errors(include_url=False)[0]
        raise WeightsError(f"{label}: its config.json: {str(line['loc'][0])[:80]}: {line['msg']}") from None


def _tower_config(
    own: Mapping[str, Any] | None, family: AnyFamily, encoder: EncoderConfig
) -> Mapping[str, Any] | None:
    """Return the tower's part of a config.json, which may be a whole model's; None if there is none."""
    if own is None:
        return None
    names = encoder.model_types() or (encoder.model_type,)
    if own.get("model_type") in names:
        return own
    nested = seeing_part(own).get("vision_config")
    if isinstance(nested, Mapping) and nested.get("model_type", names[0]) in (*names, *family.other_names):
        return nested
    return None


def _plain(value: Any) -> Any:
    """Return a list for a tuple, which JSON lacks, and one side for a square that is written as a pair."""
    if isinstance(value, (list, tuple)):
        return value[0] if len(value) == 2 and value[0] == value[1] else list(value)
    return value
