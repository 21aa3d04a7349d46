"""The keys of a block: transformers' defaults, types that JSON has, and which of them its code reads."""

from __future__ import annotations

from vision_composer.scaffold.classes import Classes, classes_of
from vision_composer.scaffold.fields import Keys, keys_of
from vision_composer.scaffold.observed import SMALL, built


def keys(model_type: str) -> Keys:
    classes: Classes = classes_of(model_type)
    return keys_of(classes, built(classes, SMALL))


def test_types_and_defaults() -> None:
    found = {key.name: (key.type, key.default) for key in keys("deit").own}
    assert found["intermediate_size"] == ("int", 3072)
    assert found["layer_norm_eps"] == ("float", 1e-12)
    assert found["qkv_bias"] == ("bool", True)
    assert found["hidden_act"] == ("str", "gelu")
    assert found["pooler_output_size"] == ("int | None", None)


def test_what_a_dense_block_has_is_named_only_where_it_differs() -> None:
    assert not {"hidden_size", "image_size", "patch_size"} & {key.name for key in keys("deit").own}
    found = {key.name: (key.type, key.default) for key in keys("chinese_clip_vision_model").own}
    assert found["patch_size"] == ("SquareSize", 32)
    assert "hidden_size" not in found
    assert {key.name: key.default for key in keys("internvl_vision").own}.get("image_size") == 448


def test_what_the_code_never_reads_is_inert() -> None:
    assert keys("deit").inert == ("encoder_stride",)
    beit = keys("beit")
    assert {"vocab_size", "auxiliary_channels"} <= set(beit.inert)
    assert not {"use_mean_pooling", "layer_norm_eps", "drop_path_rate"} & set(beit.inert)


def test_lists_are_no_keys_and_named_where_the_code_reads_them() -> None:
    assert "pool_scales" not in {key.name for key in keys("beit").own} | keys("beit").left_out.keys()
    assert "rope_parameters" in keys("mlcd").left_out
