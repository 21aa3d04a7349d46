"""A VLM's config.json, as published, means the tower of its preset."""

from __future__ import annotations

from typing import Any

import pytest

from vision_composer import plan
from vision_composer.config_json import tower_from_transformers
from vision_composer.presets import load_config
from vision_composer.schemas import EncoderConfig

_KIMI = {
    "init_pos_emb_height": 64,
    "merge_kernel_size": [2, 2],
    "patch_size": 14,
    "vt_hidden_size": 1152,  # names of the model's own code, which transformers does not read
    "vt_intermediate_size": 4304,
    "vt_num_attention_heads": 16,
    "vt_num_hidden_layers": 27,
}
_LLAMA_4 = {
    "attention_dropout": 0.0,
    "hidden_act": "gelu",
    "hidden_size": 1408,
    "image_size": 336,
    "intermediate_size": 5632,
    "model_type": "llama4_vision_model",
    "norm_eps": 1e-5,
    "num_attention_heads": 16,
    "num_hidden_layers": 34,
    "patch_size": 14,
    "pixel_shuffle_ratio": 0.5,
    "projector_input_dim": 4096,
    "projector_output_dim": 4096,
    "rope_theta": 10000,
    "vision_feature_layer": -1,
    "vision_feature_select_strategy": "default",
    "vision_output_dim": 4096,
}
_IDEFICS = {
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_attention_heads": 16,
    "num_hidden_layers": 27,
}
_SMOLVLM = {"hidden_size": 768, "image_size": 512, "num_attention_heads": 12, "patch_size": 16}
_BLIP_2 = {"dropout": 0.0, "model_type": "blip_2_vision_model", "num_channels": 3, "projection_dim": 512}

PUBLISHED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "kimi/k2.5": ({"model_type": "kimi_k25", "dtype": "bfloat16"}, _KIMI),
    "glm/4.5v": (
        {"model_type": "glm4v_moe", "dtype": "bfloat16"},
        {
            "depth": 24,
            "hidden_act": "silu",
            "hidden_size": 1536,
            "image_size": 336,
            "in_channels": 3,
            "intermediate_size": 10944,
            "model_type": "glm4v_moe_vision",
            "num_heads": 12,
            "out_hidden_size": 4096,
            "patch_size": 14,
            "rms_norm_eps": 1e-05,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
    ),
    "minimax/m3": (
        {
            "model_type": "minimax_m3_vl",
            "dtype": "bfloat16",
            "vision_feature_layer": -1,
            "vision_feature_select_strategy": "full",
        },
        {
            "hidden_act": "gelu",
            "hidden_size": 1280,
            "image_size": 2016,
            "img_token_compression_config": {"spatial_merge_size": 2, "temporal_patch_size": 2},
            "intermediate_size": 5120,
            "layer_norm_eps": 1e-05,
            "num_attention_heads": 16,
            "num_hidden_layers": 32,
            "patch_size": 14,
            "position_embedding_type": "rope",
            "rope_mode": "3d",
            "rope_theta": 10000.0,
        },
    ),
    "llama-4/scout": ({"model_type": "llama4", "torch_dtype": "bfloat16"}, _LLAMA_4),
    "llama-4/maverick": ({"model_type": "llama4", "torch_dtype": "bfloat16"}, _LLAMA_4),
    "lfm2-vl/450m": (
        {"model_type": "lfm2_vl", "torch_dtype": "bfloat16", "vision_feature_layer": -1},
        {
            "hidden_size": 768,
            "intermediate_size": 3072,
            "model_type": "siglip2_vision_model",
            "num_attention_heads": 12,
            "num_hidden_layers": 12,
            "num_patches": 256,
            "patch_size": 16,
            "vision_use_head": False,
        },
    ),
    "idefics2/8b": (
        {"model_type": "idefics2", "torch_dtype": "float32"},
        {**_IDEFICS, "image_size": 980, "model_type": "idefics2", "patch_size": 14},
    ),
    "idefics3/8b-llama3": (
        {"model_type": "idefics3", "torch_dtype": "bfloat16"},
        {**_IDEFICS, "image_size": 364, "patch_size": 14},
    ),
    "smolvlm2/500m": (
        {"model_type": "smolvlm", "torch_dtype": "float32"},
        {**_SMOLVLM, "max_image_size": {"longest_edge": 512}, "model_type": "smolvlm_vision"},
    ),
    "blip2/opt-2.7b": ({"model_type": "blip-2", "torch_dtype": "float32"}, _BLIP_2),
}
"""Preset -> what config.json says of the model, and its vision_config, as far as they concern the tower."""


@pytest.mark.filterwarnings("error::vision_composer.errors.LeftOutWarning")
@pytest.mark.parametrize("preset", PUBLISHED)
def test_config_json_means_the_preset(preset: str) -> None:
    model, vision = PUBLISHED[preset]
    theirs = load_config(tower_from_transformers({**model, "vision_config": vision}))
    ours = load_config(preset)
    assert _of(ours.encoder) == _of(theirs.encoder)
    assert ours.weights.dtype == theirs.weights.dtype
    for key in ("select_layers", "feature_select_strategy", "post_norm"):
        assert getattr(ours, key) == getattr(theirs, key)


def _of(encoder: EncoderConfig) -> dict[str, Any]:
    """A block's values, with the theta that a rope has if nothing is said of it."""
    values = encoder.model_dump()
    if "rope_parameters" in values:
        values["rope_parameters"] = {"rope_theta": 10000, **(values["rope_parameters"] or {})}
    return values


_LFM2 = {
    "model_type": "lfm2_vl",
    "downsample_factor": 2,
    "projector_hidden_act": "gelu",
    "projector_bias": True,
}
_LFM2_TILES = {
    "do_image_splitting": True,
    "max_pixels_tolerance": 2.0,
    "max_tiles": 10,
    "min_tiles": 2,
    "tile_size": 512,
    "use_thumbnail": False,
}
_LFM2_5 = _LFM2 | {"projector_hidden_size": 2048, "projector_use_layernorm": False}
CONNECTORS: dict[str, dict[str, Any]] = {
    "lfm2-vl/450m": _LFM2
    | _LFM2_TILES
    | {"projector_hidden_size": 2560, "text_config": {"model_type": "lfm2", "hidden_size": 1024}},
    "lfm2.5-vl/450m": _LFM2_5 | {"text_config": {"model_type": "lfm2", "hidden_size": 1024}},
    "lfm2.5-vl/1.6b": _LFM2_5 | {"text_config": {"model_type": "lfm2", "hidden_size": 2048}},
    "molmo2/4b": {
        "model_type": "molmo2",
        "adapter_config": {
            "hidden_size": 1152,
            "intermediate_size": 9728,
            "num_attention_heads": 16,
            "num_key_value_heads": 16,
            "head_dim": 72,
            "hidden_act": "silu",
            "text_hidden_size": 2560,
            "vit_layers": [-3, -9],
        },
        "vit_config": {"num_hidden_layers": 27, "image_default_input_size": [378, 378], "image_num_pos": 729},
    },
}
"""Preset -> what config.json says of the model, as far as it concerns the connector and tiles."""


@pytest.mark.parametrize("preset", CONNECTORS)
def test_config_json_means_the_connector_of_the_preset(preset: str) -> None:
    fields = CONNECTORS[preset]
    tower = {} if "vit_config" in fields else {"vision_config": {}}
    theirs = load_config(tower_from_transformers({**tower, **fields}))
    ours = load_config(preset)
    assert ours.connector == theirs.connector
    assert "tiling" not in ours.to_dict() or ours.tiling == theirs.tiling
    assert plan(preset, overrides=["output=embeds"]).output_width == ours.connector.hidden_size


def test_molmo2_has_as_many_parameters_as_published() -> None:
    assert plan("molmo2-4b", overrides=["output=embeds"]).num_parameters == 439_117_264
