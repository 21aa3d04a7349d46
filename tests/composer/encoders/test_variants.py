"""Variants: another model_type, and the same tower."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, PreTrainedModel

from vision_composer import compose, plan
from vision_composer.encoders import FAMILIES, family_of, get_vision_encoder_info
from vision_composer.schemas import ENCODER_CONFIGS, encoder_config

VARIANTS = [name for name in ENCODER_CONFIGS if name != FAMILIES[name].model_type]
SMALL = {"depth": 2, "hidden_size": 32, "num_heads": 4, "intermediate_size": 48}


def fields(variant: str) -> dict[str, Any]:
    return {**SMALL, **FAMILIES[variant].tiny}


def variant_model(variant: str) -> Any:
    """transformers' own class of the variant, at random weights."""
    config = AutoConfig.for_model(variant, **fields(variant))
    module = import_module(type(config).__module__.replace("configuration", "modeling"))
    (model_class,) = (
        thing
        for thing in vars(module).values()
        if isinstance(thing, type)
        and issubclass(thing, PreTrainedModel)
        and thing.__module__ == module.__name__
        and getattr(thing, "config_class", None) is type(config)
    )
    torch.manual_seed(0)
    return model_class(config).eval()


def test_there_are_variants() -> None:
    assert {"glm4v_moe_vision", "qwen3_5_moe_vision", "qwen3_vl_moe_vision"} <= set(VARIANTS)


@pytest.mark.parametrize("variant", VARIANTS)
def test_its_config_has_the_fields_and_defaults_of_the_family(variant: str) -> None:
    own = FAMILIES[variant].model_type
    theirs, ours = (AutoConfig.for_model(name).to_dict() for name in (variant, own))
    assert theirs == ours | {"model_type": variant}


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_is_planned_under_its_name(variant: str) -> None:
    encoder = encoder_config({"model_type": variant, **fields(variant)})
    own = FAMILIES[variant].model_type
    assert family_of(encoder) is FAMILIES[own]
    planned, of_family = (
        plan({"schema": 1, "encoder": {**fields(variant), "model_type": name}}) for name in (variant, own)
    )
    assert planned.info.model_type == variant
    assert planned.num_parameters == of_family.num_parameters
    assert get_vision_encoder_info(encoder).model_type == variant


@pytest.mark.parametrize("variant", VARIANTS)
def test_its_checkpoint_gives_its_features_under_either_name(variant: str, tmp_path: Path) -> None:
    model = variant_model(variant)
    model.save_pretrained(tmp_path)
    patch, merge = model.config.patch_size, model.config.spatial_merge_size
    grid = torch.tensor([[1, 2 * merge, 3 * merge]])
    torch.manual_seed(1)
    pixels = torch.randn(int(grid.prod()), 3 * model.config.temporal_patch_size * patch**2)
    with torch.no_grad():
        output = model(pixels, grid_thw=grid)
    levels = getattr(output, "deepstack_features", None) or []
    expected = torch.cat([output.pooler_output, *levels], dim=-1)
    for name in (variant, FAMILIES[variant].model_type):
        encoder = {**fields(variant), "model_type": name}
        tower = compose({"schema": 1, "encoder": encoder, "weights": {"source": str(tmp_path)}})
        with torch.no_grad():
            (features,) = tower(pixel_values=pixels, image_grid_thw=grid)
        torch.testing.assert_close(features, expected)
