"""Every family's config block against transformers' own config class."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterator
from importlib import import_module
from typing import Any, get_args

import pytest
import transformers
from support import tiny
from transformers.activations import ACT2FN

from vision_composer.encoders import FAMILIES
from vision_composer.presets import load_config, preset_names
from vision_composer.schemas import ENCODER_CONFIGS, GenericEncoderConfig, encoder_config
from vision_composer.schemas.encoders.base import Activation, EncoderConfig

# What only the backbone API of transformers reads.
_NOT_OURS = {"apply_layernorm", "reshape_hidden_states", "_out_features", "_out_indices"}

_ALSO_FOREIGN = {
    "granite_docling_vision": {"deepstack_visual_indexes"},  # named as left out: no connector reads it
    "janus_vision_model": {"projection_dim"},  # inert in every family
}
"""Fields of a tower's config about what stands behind it, beside the block's ``foreign_fields``."""


def own_fields(config_class: type) -> dict[str, Any]:
    """The fields that a transformers config class adds to its base, and their defaults."""
    base = {field.name for field in dataclasses.fields(transformers.PretrainedConfig)}
    return {
        field.name: field.default
        for field in dataclasses.fields(config_class)
        if field.name not in base and field.name not in _NOT_OURS
    }


@pytest.mark.parametrize("model_type", ENCODER_CONFIGS)
def test_fields_and_defaults_are_transformers(model_type: str) -> None:
    family = FAMILIES[model_type]
    theirs = own_fields(getattr(import_module(family.module), family.config_class))
    ours = {name: field.default for name, field in ENCODER_CONFIGS[model_type].model_fields.items()}
    del ours["model_type"]
    theirs = {name: ours[name] for name in tiny.UNDECLARED & ours.keys()} | theirs
    behind = ENCODER_CONFIGS[model_type].foreign_fields | _ALSO_FOREIGN.get(model_type, set())
    assert behind <= theirs.keys()
    squares = {"image_size", "patch_size", "merge_kernel_size"}
    if model_type == "molmo2_vision":  # the default is filled in later there
        theirs["image_size"] = tuple(getattr(import_module(family.module), family.config_class)().image_size)
    assert ours == {
        name: value[0] if name in squares and isinstance(value, tuple) else value
        for name, value in theirs.items()
        if name not in behind
    }


@pytest.mark.parametrize("model_type", ENCODER_CONFIGS)
def test_transformers_takes_the_block_and_reports_the_same_values(model_type: str) -> None:
    fields = ENCODER_CONFIGS[model_type].model_fields
    few = {"num_hidden_layers" if "num_hidden_layers" in fields else "depth": 3}
    if "deepstack_visual_indexes" in fields:
        few |= {"deepstack_visual_indexes": [0, 2]}  # type: ignore[dict-item]
    encoder = encoder_config({"model_type": model_type, **few})
    config = FAMILIES[model_type].transformers_config(encoder, 3, head=encoder.has_head)
    own = FAMILIES[model_type].model_type
    assert config.model_type in (own, "")  # GOT-OCR 2's has none in the oldest supported transformers
    for name, value in encoder.model_dump(exclude={"model_type"}).items():
        theirs = getattr(config, name, value)
        if value is not None:
            assert theirs == value or tuple(theirs) in ((value, value), value), name


def test_activations_are_transformers() -> None:
    assert set(get_args(Activation)) <= set(ACT2FN)
    stateful_or_aliases = set(ACT2FN) - set(get_args(Activation))
    assert "gelu" not in stateful_or_aliases


def whole_numbers(schema: Any) -> Iterator[dict[str, Any]]:
    """Every part of a JSON Schema that takes whole numbers."""
    parts = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    for part in parts:
        yield from whole_numbers(part)
    if isinstance(schema, dict) and (
        schema.get("type") == "integer" or schema.get("items", {}).get("type") == "integer"
    ):
        yield schema


@pytest.mark.parametrize("block", [*dict.fromkeys(ENCODER_CONFIGS.values()), GenericEncoderConfig])
def test_every_whole_number_has_a_limit(block: type[EncoderConfig]) -> None:
    numbers = list(whole_numbers(block.model_json_schema()))
    assert numbers
    for number in numbers:
        assert (
            "const" in number or number.get("maximum", number.get("exclusiveMaximum")) or "maxItems" in number
        )


def test_released_encoders_lie_far_below_the_limits() -> None:
    limits, largest = defaultdict(lambda: math.inf), defaultdict(int)
    for block in ENCODER_CONFIGS.values():
        for name, field in block.model_json_schema()["properties"].items():
            for number in whole_numbers(field):
                limits[name] = min(limits[name], number.get("maximum", math.inf))
    towers = [tower for preset in preset_names() for tower in load_config(preset).towers_by_name.values()]
    for tower in towers:
        for name, value in tower.resolved()["encoder"].items():
            if isinstance(value, int):
                largest[name] = max(largest[name], value)
    assert largest["num_hidden_layers"] == 48
    assert [name for name in largest if largest[name] * 8 > limits[name]] == []
