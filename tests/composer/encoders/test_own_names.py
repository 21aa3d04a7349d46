"""Aliases and old names of an encoder's fields: read as transformers' own config classes read them."""

from __future__ import annotations

from typing import Any

import pytest
from support import tiny

from vision_composer.encoders import FAMILIES, encoder_from_transformers, family_of
from vision_composer.encoders.own_names import own_names
from vision_composer.schemas import ENCODER_CONFIGS, encoder_config

FIELDS = {name: tiny.encoder_of(name) for name in FAMILIES}
HAVE_ROPE = [name for name, block in ENCODER_CONFIGS.items() if "rope_parameters" in block.model_fields]


def their_class(name: str) -> Any:
    encoder = encoder_config(FIELDS[name])
    return type(family_of(encoder).transformers_config(encoder, encoder.num_hidden_layers, head=False))


def meant(name: str, fields: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What fields of a config.json mean to us and to transformers, as transformers' config."""
    encoder = encoder_from_transformers(fields)
    ours = family_of(encoder).transformers_config(encoder, encoder.num_hidden_layers, head=encoder.has_head)
    known = {key for key in type(encoder).model_fields if key != "model_type" and not encoder.is_inert(key)}
    theirs = type(ours).from_dict({**fields, "model_type": type(ours).model_type}).to_dict()
    return {key: ours.to_dict()[key] for key in known & theirs.keys()}, {
        key: theirs[key] for key in known & theirs.keys()
    }


@pytest.mark.parametrize("name", FAMILIES)
def test_every_alias_of_transformers_is_read(name: str) -> None:
    for alias, field in their_class(name).attribute_map.items():
        if alias in ENCODER_CONFIGS[name].model_fields:
            continue  # a field of its own here
        block = ENCODER_CONFIGS[name]
        value = FIELDS[name].get(field, block.model_fields[field].default)
        given = {key: value for key, value in FIELDS[name].items() if key != field} | {alias: value * 2}
        ours, theirs = meant(name, given)
        assert ours == theirs
        assert ours[field] == value * 2


@pytest.mark.parametrize("name", HAVE_ROPE)
@pytest.mark.parametrize(
    "old",
    [
        {"rope_theta": 123.0},
        {"rope_theta": 123.0, "rope_parameters": None},
        {"rope_theta": 123.0, "rope_parameters": {"rope_theta": 77.0}},
    ],
    ids=["alone", "beside null", "beside parameters"],
)
def test_a_rope_of_old_names_is_read(name: str, old: dict[str, Any]) -> None:
    fields = {key: value for key, value in FIELDS[name].items() if key != "rope_parameters"}
    ours, theirs = meant(name, fields | old)
    assert ours["rope_parameters"] == theirs["rope_parameters"]
    assert ours["rope_parameters"]["rope_theta"] == (old.get("rope_parameters") or old)["rope_theta"]


@pytest.mark.parametrize(
    "fields", [{"depth": 3, "num_hidden_layers": 5}, {"num_hidden_layers": 5, "depth": 3}]
)
def test_an_alias_wins_over_its_field(fields: dict[str, Any]) -> None:
    ours, theirs = meant("qwen2_vl_vision", fields | {"model_type": "qwen2_vl_vision"})
    assert ours["depth"] == theirs["depth"] == 5
    assert own_names(fields, ENCODER_CONFIGS["qwen2_vl_vision"]) == {"depth": 5}


def test_old_rope_scaling_is_read_as_parameters() -> None:
    block = ENCODER_CONFIGS["pixtral"]
    old = {"rope_theta": 5.0, "rope_scaling": {"type": "default"}}
    assert own_names(old, block) == {"rope_parameters": {"rope_type": "default", "rope_theta": 5.0}}
    assert own_names({"rope_theta": None}, block) == {"rope_theta": None}
    kept = {"rope_theta": 5.0}
    assert own_names(kept, ENCODER_CONFIGS["dinov3_vit"]) == kept


def test_parameters_that_are_none_are_told_of_as_they_stand() -> None:
    assert own_names({"rope_parameters": 3}, ENCODER_CONFIGS["pixtral"]) == {"rope_parameters": 3}
