"""A checkpoint's own config.json: which names it may call the tower by, and which fields must agree."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.checkpoints import ENCODER, load

from vision_composer.encoders import FAMILIES
from vision_composer.errors import WeightsError
from vision_composer.schemas import ENCODER_CONFIGS, EncoderConfig, GenericEncoderConfig, encoder_config
from vision_composer.weights.own_config import check_own_config

OWN = [config.model_types()[0] for config in dict.fromkeys(ENCODER_CONFIGS.values())]
VARIANTS = [name for name in ENCODER_CONFIGS if name not in OWN]


def check(own: Any, encoder: EncoderConfig, *, saved: bool = False) -> None:
    checkpoint: Any = SimpleNamespace(config=lambda: own, label="x", is_saved_tower=saved)
    check_own_config(checkpoint, FAMILIES[encoder.model_type], encoder)


def published(encoder: EncoderConfig) -> dict[str, Any]:
    """What transformers writes beside the weights of an encoder."""
    family = FAMILIES[encoder.model_type]
    config = family.transformers_config(encoder, encoder.num_hidden_layers, head=encoder.has_head)
    written: dict[str, Any] = config.to_dict()
    return written


def another(value: Any) -> Any:
    """Another value of the same type, or a number in the place of nothing."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return value * 2 or 0.5
    if isinstance(value, int):
        return value * 2 or 1
    if isinstance(value, str):
        return "relu" if value != "layer_norm" else "rms_norm"
    if isinstance(value, dict):
        return {**value, "rope_theta": 5.0}
    return [another(each) for each in value] if value else 0.5


@pytest.mark.parametrize("model_type", OWN)
def test_every_field_is_compared_or_named_inert(model_type: str) -> None:
    encoder = encoder_config({"model_type": model_type})
    block, own = type(encoder), published(encoder)
    check(own, encoder)
    assert block.inert_fields - EncoderConfig.inert_fields <= set(block.model_fields)
    for field in set(block.model_fields) & set(own) - {"model_type"}:
        changed = own | {field: another(own[field])}
        if field in block.inert_fields:
            check(changed, encoder)
            continue
        with pytest.raises(WeightsError, match=r"config\.json"):
            check(changed, encoder)
        if field in block.depth_fields and own[field]:
            check(own | {field: own[field]}, encoder, saved=True)


def test_what_is_inert_in_a_family_is_inert_in_the_generic_adapter() -> None:
    for block in ENCODER_CONFIGS.values():
        for field in block.model_fields:
            inert = block.is_inert(field) or not GenericEncoderConfig.is_inert(field)
            assert inert, f"{block.__name__}.{field}"


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_are_one_family(variant: str) -> None:
    own = FAMILIES[variant].model_type
    assert own != variant
    assert FAMILIES[own] is FAMILIES[variant]
    for ours, theirs in ((own, variant), (variant, own), (variant, variant)):
        encoder = encoder_config({"model_type": ours})
        said = published(encoder) | {"model_type": theirs}
        for whole in (said, {"model_type": "a model", "vision_config": said}):
            check(whole, encoder)
        with pytest.raises(WeightsError, match="depth"):
            check(said | {"depth": 5}, encoder)


def test_the_whole_models_name_in_a_vision_config() -> None:
    named = {name: family for family in FAMILIES.values() for name in family.other_names}
    assert named
    for name, family in named.items():
        encoder = encoder_config({"model_type": family.model_type})
        if "layer_types" in encoder.depth_fields:  # of another depth, its own default is another list, too
            continue
        depth = "depth" if "depth" in encoder.depth_fields else "num_hidden_layers"
        with pytest.raises(WeightsError, match=depth):
            check({"vision_config": {"model_type": name, depth: 5}}, encoder)
        check({"model_type": name, depth: 5}, encoder)  # at the top it is not the tower's


def test_another_tower_is_not_compared() -> None:
    encoder = encoder_config({"model_type": "clip_vision_model"})
    for other in ("siglip_vision_model", None, "", ["clip_vision_model"], {}):
        check({"vision_config": {"model_type": other, "hidden_size": 1}}, encoder)
        check({"model_type": other, "hidden_size": 1}, encoder)


def test_a_pair_that_is_no_square_is_not_its_first_side() -> None:
    encoder = encoder_config({"model_type": "clip_vision_model", "image_size": 32, "patch_size": 8})
    own = published(encoder)
    check(own | {"image_size": [32, 32]}, encoder)
    with pytest.raises(WeightsError, match=r"means image_size: \[32, 64\], and this config says .*: 32"):
        check(own | {"image_size": [32, 64]}, encoder)


def test_a_config_that_agrees_needs_no_look_for_a_saved_tower() -> None:
    """On a hub, that is a request for a file that few repositories have."""

    class Remote:
        label = "x"

        def config(self) -> dict[str, Any]:
            return published(encoder)

        @property
        def is_saved_tower(self) -> bool:
            raise AssertionError

    encoder = encoder_config({"model_type": "clip_vision_model"})
    remote: Any = Remote()
    check_own_config(remote, FAMILIES[encoder.model_type], encoder)


@pytest.mark.parametrize(("key", "value"), [("hidden_act", "gelu"), ("layer_norm_eps", 1e-6)])
def test_a_config_json_that_contradicts_is_refused(folder: Path, key: str, value: Any) -> None:
    with pytest.raises(WeightsError, match=rf"config\.json means {key}"):
        load(folder, encoder={**ENCODER, key: value})
    (folder / "config.json").unlink()
    load(folder, encoder={**ENCODER, key: value})


@pytest.mark.parametrize("text", ["[" * 100_000, '{"vision_config": "x"}', '{"vision_config": [1]}'])
def test_a_config_json_of_odd_shape(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    if text.startswith("["):
        with pytest.raises(WeightsError, match="not readable as JSON"):
            load(folder)
    else:
        load(folder)


def test_a_vision_config_without_a_model_type_is_compared(folder: Path) -> None:
    (folder / "config.json").write_text('{"vision_config": {"hidden_act": "relu", "image_size": [32, 32]}}')
    with pytest.raises(WeightsError, match=r"config\.json means"):
        load(folder)


def test_a_depth_that_is_not_the_checkpoints_is_refused(folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"config\.json means num_hidden_layers: 4"):
        load(folder, encoder={**ENCODER, "num_hidden_layers": 5})
    (folder / "config.json").unlink()
    with pytest.raises(WeightsError, match="holds 4 blocks, and the selected hidden states need 5"):
        load(folder, encoder={**ENCODER, "num_hidden_layers": 6})
