"""timm's config.json: sizes by the name, held against presets that say what transformers' configs do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support import tiny
from support.foreign import DEPTH, HEADS, MLP, PATCH, SIDE, WIDTH, Kind

from vision_composer import compose, load_config
from vision_composer.config_json import tower_from_transformers
from vision_composer.errors import ConfigError, LeftOutWarning

SAME = (
    *("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
    *("mlp_ratio", "patch_size", "layer_norm_eps", "num_register_tokens", "use_swiglu_ffn", "use_gated_mlp"),
)
IMAGES = {"input_size": [3, SIDE, SIDE], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
SMALLER = {
    "embed_dim": WIDTH,
    "depth": DEPTH,
    "num_heads": HEADS,
    "mlp_ratio": MLP / WIDTH,
    "patch_size": PATCH,
    "img_size": SIDE,
}


def encoder(architecture: str, **fields: Any) -> Any:
    return load_config(tower_from_transformers({"architecture": architecture, **fields})).encoder


@pytest.mark.parametrize(
    ("architecture", "preset", "tag"),
    [
        ("vit_base_patch16_224", "vit/base-patch16-224", ""),
        ("vit_huge_patch14_gap_224", "ijepa/vith14-1k", "in1k_ijepa"),
        ("vit_base_patch32_clip_224", "clip/vit-base-patch32", ""),
        ("vit_large_patch14_clip_quickgelu_336", "clip/vit-large-patch14-336", ""),
        ("vit_base_patch16_siglip_512", "siglip/base-patch16-512", ""),
        ("vit_large_patch16_siglip_384", "siglip/large-patch16-384", ""),
        ("vit_so400m_patch14_siglip_384", "siglip/so400m-patch14-384", ""),
        ("vit_giantopt_patch16_siglip_384", "siglip2/giant-opt-patch16-384", ""),
        *((f"vit_{size}_patch14_dinov2", f"dinov2/{size}", "") for size in ("small", "large", "giant")),
        *(
            (f"vit_{size}_patch14_reg4_dinov2", f"dinov2-with-registers/{size}", "")
            for size in ("base", "giant")
        ),
        ("vit_small_plus_patch16_dinov3_qkvb", "dinov3/vits16plus", ""),
        ("vit_huge_plus_patch16_dinov3_qkvb", "dinov3/vith16plus", ""),
        ("vit_large_patch16_dinov3_qkvb", "dinov3/vitl16", ""),
        ("vit_7b_patch16_dinov3", "dinov3/vit7b16", ""),
    ],
)
def test_sizes_are_those_of_transformers_config(architecture: str, preset: str, tag: str) -> None:
    expected = load_config(preset).encoder
    found = encoder(architecture, pretrained_cfg={"tag": tag, "input_size": [3, 448, 448]})
    for name in SAME:
        if preset.startswith("vit/") and name == "layer_norm_eps":
            continue  # timm's is 1e-6, and that of transformers 1e-12
        assert getattr(found, name, None) == getattr(expected, name, None), name
    assert found.image_size == 448


@pytest.mark.parametrize(
    ("architecture", "act"),
    [
        ("vit_base_patch16_clip_224", "gelu"),
        ("vit_base_patch16_clip_quickgelu_224", "quick_gelu"),
        ("vit_so400m_patch14_siglip_224", "gelu"),
        ("vit_so400m_patch16_siglip_256", "gelu_pytorch_tanh"),
        ("vit_large_patch16_siglip_512", "gelu_pytorch_tanh"),
        ("vit_large_patch16_siglip_256", "gelu"),
        ("vit_base_patch32_siglip_gap_256", "gelu_pytorch_tanh"),
    ],
)
def test_the_activation_is_that_of_the_architecture(architecture: str, act: str) -> None:
    found = encoder(architecture)
    assert found.hidden_act == act
    assert found.image_size == int(architecture.rpartition("_")[2])
    if "siglip" in architecture:
        assert found.has_head == ("gap" not in architecture)


def test_dinov3_without_biases_has_none() -> None:
    plain, biased = encoder("vit_base_patch16_dinov3"), encoder("vit_base_patch16_dinov3_qkvb")
    assert (plain.query_bias, plain.key_bias, plain.value_bias) == (False, False, False)
    assert (biased.query_bias, biased.key_bias, biased.value_bias) == (True, False, True)


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [
        ("vit_tiny_patch16_224", Kind()),
        ("deit_tiny_patch16_224", Kind()),
        ("vit_base_patch16_clip_224", Kind(pre_norm=True, eps=1e-5)),
        ("vit_base_patch16_siglip_224", Kind(class_token=False, pool=True)),
        ("eva_giant_patch14_clip_224", Kind(biases="separate")),
    ],
)
def test_a_folder_of_timm_is_composed(architecture: str, kind: Kind, tmp_path: Path) -> None:
    tensors = kind.tensors()
    save_file(tensors, tmp_path / "model.safetensors")
    config = {
        "architecture": architecture,
        "num_features": WIDTH,
        "model_args": SMALLER,
        "pretrained_cfg": IMAGES,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    composed = compose(tmp_path, overrides=["select_layers=[0,-1]", "post_norm=none"])
    assert composed.config.weights.source == str(tmp_path)
    assert composed.config.source == f"config.json of {tmp_path}"
    pixels = tiny.pixels({"image_size": SIDE}).double()
    with torch.no_grad():
        ours = composed.double()(pixel_values=pixels)
    states = kind.hidden_states(tensors, pixels)
    torch.testing.assert_close(ours, torch.cat([states[0], states[DEPTH]], -1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"architecture": "convnext_base"},
            r"architecture: timm's 'convnext_base' is none of .* a plugin can",
        ),
        ({"architecture": "eva02_large_patch14_448"}, "timm's 'eva02_large_patch14_448' is none"),
        ({"architecture": "eva_large_patch14_196"}, "is none of"),
        ({"architecture": "vit_base_patch16_gap_224"}, "is none of"),
        ({"architecture": "vit_betwixt_patch32_clip_224"}, "is none of"),
        ({"architecture": "vit_base_patch16_plus_clip_240"}, "is none of"),
        ({"architecture": ["vit"]}, "architecture: expected a string"),
        (
            {"architecture": "vit_base_patch16_224", "model_args": {"qkv_bias": False}},
            r"model_args\.qkv_bias: what this changes in timm's model is not known here",
        ),
        ({"architecture": "vit_base_patch16_224", "num_features": 384}, "384, but .* is 768 wide"),
        (
            {"architecture": "vit_base_patch16_224", "pretrained_cfg": {"input_size": [3, 224, 448]}},
            r"pretrained_cfg\.input_size: expected one number, or two equal ones",
        ),
        (
            {"architecture": "vit_base_patch16_224", "pretrained_cfg": {"crop_pct": 1e-300}},
            r"pretrained_cfg\.crop_pct: expected a number",
        ),
        ({"architecture": "vit_base_patch16_224", "pretrained_cfg": 5}, "pretrained_cfg: expected an object"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        tower_from_transformers(fields)


def test_a_way_to_crop_that_no_key_says_is_named() -> None:
    fields = {"architecture": "vit_base_patch16_224", "pretrained_cfg": {**IMAGES, "crop_mode": "border"}}
    with pytest.warns(LeftOutWarning, match=r"says pretrained_cfg\.crop_mode: 'border', and no key"):
        tower_from_transformers(fields)
