"""Names that only a VLM's conversion mapping knows: there and back, and beside a tower's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import tiny
from transformers.conversion_mapping import get_model_conversion_mapping

from vision_composer.encoders import FAMILIES
from vision_composer.schemas import encoder_config
from vision_composer.weights.names import TensorNames
from vision_composer.weights.source import Checkpoint
from vision_composer.weights.vlm_names import class_in_vlm, is_named_as_in_vlm, names_in_vlm

NAMED = [name for name in tiny.PACKED if FAMILIES[tiny.PACKED[name]["model_type"]].vlm]


def models(name: str) -> tuple[Any, Any]:
    """The tower of transformers' own class, and of the class that loads it from a VLM's checkpoint."""
    encoder, family = encoder_config(tiny.PACKED[name]), family_of(name)
    config = family.transformers_config(encoder, 2, head=False)
    own = family.transformers_class(config)
    with torch.device("meta"):
        return own._from_config(config), class_in_vlm(family, own)._from_config(config)


def family_of(name: str) -> Any:
    return FAMILIES[tiny.PACKED[name]["model_type"]]


def checkpoint(*names: str) -> Checkpoint:
    return Checkpoint("x", dict.fromkeys(names, "x.safetensors"), lambda file: None, "safetensors")


def test_there_are_such_families() -> None:
    assert NAMED


@pytest.mark.parametrize("name", NAMED)
def test_the_vlms_names_lead_back_to_the_modules(name: str) -> None:
    _, model = models(name)
    root = f"{family_of(name).vlm_root}."
    planned = names_in_vlm(model, root.removesuffix("."))
    names = TensorNames(model, planned, root=root)
    targets = [target for stored in planned for target in names(stored)]
    assert sorted(targets) == sorted(model.state_dict())
    assert all(stored.startswith(root) for stored in planned)
    assert {stored: names.shape(stored) for stored in planned} == planned


@pytest.mark.parametrize("name", NAMED)
def test_the_towers_own_class_keeps_its_mapping(name: str) -> None:
    own, model = models(name)
    before = [str(transform) for transform in get_model_conversion_mapping(own)]
    assert [str(transform) for transform in get_model_conversion_mapping(model)] != before
    names_in_vlm(model, family_of(name).vlm_root)
    assert [str(transform) for transform in get_model_conversion_mapping(own)] == before
    assert not hasattr(model, "_weight_conversions")  # it would change how the tower is saved


@pytest.mark.parametrize("name", NAMED)
def test_a_checkpoint_is_known_by_its_names(name: str) -> None:
    own, model = models(name)
    in_vlm, of_tower = list(names_in_vlm(model, family_of(name).vlm_root)), list(own.state_dict())
    for prefix in ("", "model.", "a.b."):
        assert is_named_as_in_vlm(checkpoint(*(prefix + stored for stored in in_vlm)), in_vlm, of_tower)
        assert not is_named_as_in_vlm(checkpoint(*(prefix + ours for ours in of_tower)), in_vlm, of_tower)
    # A VLM saved by transformers under its modules' names, and names that only end alike.
    assert not is_named_as_in_vlm(
        checkpoint(*(f"{family_of(name).vlm_module}.{ours}" for ours in of_tower)), in_vlm, of_tower
    )
    assert not is_named_as_in_vlm(checkpoint(*(f"x{stored}" for stored in in_vlm)), in_vlm, of_tower)
    assert not is_named_as_in_vlm(checkpoint(), in_vlm, of_tower)


def test_names_that_both_have_tell_nothing() -> None:
    in_vlm, of_tower = ["tower.c.x", "tower.a.w"], ["a.w", "c.x"]
    assert not is_named_as_in_vlm(checkpoint(*in_vlm), in_vlm, iter(of_tower))
    assert is_named_as_in_vlm(checkpoint(*in_vlm, "tower.b"), [*in_vlm, "tower.b"], iter(of_tower))
