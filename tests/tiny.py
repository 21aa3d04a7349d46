"""Tiny encoders of every family, made and saved by transformers: the truth of the parity tests."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from vision_composer.encoders import FAMILIES, family_of
from vision_composer.schemas import encoder_config

UNDECLARED = {"use_mask_token", "vision_use_head"}
"""Fields that the oldest supported transformers reads from a config without declaring them."""

_DENSE = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}

ENCODERS: dict[str, dict[str, Any]] = {
    name: {"model_type": name.partition("/")[0], **_DENSE, **fields}
    for name, fields in {
        "aimv2_vision_model": {"intermediate_size": 48},
        "aimv2_vision_model/native": {
            "intermediate_size": 48,
            "is_native": True,
            "qkv_bias": True,
            "mlp_bias": True,
        },
        "clip_vision_model": {"intermediate_size": 48},
        "clip_vision_model/indivisible": {"intermediate_size": 48, "image_size": 30, "num_channels": 1},
        "dinov2": {"mlp_ratio": 2},
        "dinov2/swiglu": {"mlp_ratio": 3, "use_swiglu_ffn": True, "qkv_bias": False, "use_mask_token": False},
        "dinov2_with_registers": {"mlp_ratio": 2, "num_register_tokens": 3},
        "dinov2_with_registers/none": {"mlp_ratio": 2, "num_register_tokens": 0},
        "dinov3_vit": {"intermediate_size": 48, "num_register_tokens": 2},
        "dinov3_vit/gated": {
            "intermediate_size": 48,
            "use_gated_mlp": True,
            "key_bias": True,
            "mlp_bias": False,
        },
        "internvl_vision": {"intermediate_size": 48},
        "internvl_vision/normed": {
            "intermediate_size": 48,
            "use_mean_pooling": False,
            "use_qk_norm": True,
            "norm_type": "rms_norm",
            "attention_bias": True,
            "use_mask_token": True,
        },
        "metaclip_2_vision_model": {"intermediate_size": 48},
        "mlcd_vision_model": {"intermediate_size": 48},
        "siglip_vision_model": {"intermediate_size": 48},
        "siglip_vision_model/indivisible": {
            "intermediate_size": 48,
            "image_size": 37,
            "vision_use_head": False,
        },
    }.items()
}
"""name -> encoder block of a dense family; what stands behind a slash says what is special."""

_QWEN = {"depth": 4, "num_heads": 4, "patch_size": 4}
_WIDTHS = {"hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 24}

PACKED: dict[str, dict[str, Any]] = {
    name: {"model_type": name.partition("/")[0], **fields}
    for name, fields in {
        "pixtral": {**_DENSE, "intermediate_size": 48, "image_size": 64},
        "pixtral/theta": {
            **_DENSE,
            "intermediate_size": 48,
            "hidden_act": "silu",
            "rope_parameters": {"rope_type": "axial", "rope_theta": 50.0},
        },
        "qwen2_vl_vision": {**_QWEN, "embed_dim": 32, "hidden_size": 24, "mlp_ratio": 2},
        "qwen2_vl_vision/merge3": {
            **_QWEN,
            "embed_dim": 32,
            "hidden_size": 24,
            "spatial_merge_size": 3,
            "temporal_patch_size": 1,
        },
        "qwen2_5_vl_vision": {**_QWEN, **_WIDTHS, "window_size": 24, "fullatt_block_indexes": [1, 3]},
        "qwen2_5_vl_vision/windows": {**_QWEN, **_WIDTHS, "window_size": 17, "fullatt_block_indexes": []},
        "qwen3_5_vision": {**_QWEN, **_WIDTHS, "num_position_embeddings": 25},
        "qwen3_5_vision/unmerged": {
            **_QWEN,
            **_WIDTHS,
            "num_position_embeddings": 9,
            "spatial_merge_size": 1,
        },
        "qwen3_vl_vision": {
            **_QWEN,
            **_WIDTHS,
            "num_position_embeddings": 25,
            "deepstack_visual_indexes": [0, 2],
        },
        "qwen3_vl_vision/unsorted": {
            **_QWEN,
            **_WIDTHS,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [3, 1],
        },
    }.items()
}
"""The same of the packed families."""

_SIGLIP = {key: value for key, value in _DENSE.items() if key != "image_size"} | {"intermediate_size": 48}
_IDEFICS = {**_DENSE, "intermediate_size": 48, "image_size": 40}

PADDED: dict[str, dict[str, Any]] = {
    name: {"model_type": name.partition("/")[0], **fields}
    for name, fields in {
        "gemma4_vision": {**_SIGLIP, "num_key_value_heads": 4, "head_dim": 8, "patch_size": 2},
        "gemma4_vision/clipped": {
            **_SIGLIP,
            "num_key_value_heads": 2,
            "head_dim": 12,
            "patch_size": 3,
            "pooling_kernel_size": 2,
            "position_embedding_size": 400,
            "rope_parameters": {"rope_type": "axial", "rope_theta": 50.0},
            "use_clipped_linears": True,
            "standardize": True,
        },
        "idefics2_vision": _IDEFICS,
        "idefics2_vision/indivisible": {**_IDEFICS, "image_size": 52, "patch_size": 7},
        "idefics3_vision": _IDEFICS,
        "siglip2_vision_model": {**_SIGLIP, "num_patches": 36},
        "siglip2_vision_model/headless": {**_SIGLIP, "num_patches": 9, "vision_use_head": False},
        "smolvlm_vision": {**_IDEFICS, "image_size": 42, "patch_size": 6},
    }.items()
}
"""The same of the packed families that transformers runs as padded batches."""


def reference(encoder: dict[str, Any], *, seed: int = 0) -> Any:
    """transformers' own full module, every parameter random (norms, scales and biases too), in eval mode."""
    family = FAMILIES[encoder["model_type"]]
    fields = {key: value for key, value in encoder.items() if key != "model_type"}
    module = import_module(family.module)
    config = getattr(module, family.config_class)(**fields)
    torch.manual_seed(seed)
    return scramble(getattr(module, family.model_class)(config), seed=seed)


def scramble(model: Any, *, seed: int = 0) -> Any:
    """Move every parameter off its initial value, so that no zero or one can hide a missing one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
        for name, buffer in model.named_buffers():
            if name.endswith(("_min", "_max")):  # bounds of a clamp, at infinity until they are learned
                buffer.copy_(torch.rand((), generator=generator) * (3 if name.endswith("_max") else -3))
            elif "std_" in name:
                buffer.add_(torch.randn(buffer.shape, generator=generator) * 0.5)
    return model.eval()


def save(model: Any, folder: Path) -> Path:
    """Save with transformers and return the folder."""
    model.save_pretrained(folder)
    return folder


def pixels(
    encoder: dict[str, Any], *, images: int = 2, size: tuple[int, int] | None = None, seed: int = 1
) -> torch.Tensor:
    """Random pixel_values; ``size`` is (height, width), default the encoder's own."""
    height, width = size or (encoder["image_size"],) * 2
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(images, encoder.get("num_channels", 3), height, width, generator=generator)


def hidden_states(model: Any, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """transformers' hidden states 0 to N."""
    with torch.no_grad():
        return tuple(model(pixel_values=pixel_values, output_hidden_states=True).hidden_states)


def post_norm(model: Any) -> torch.nn.Module:
    """transformers' norm behind the last block."""
    return model.get_submodule(FAMILIES[model.config.model_type].post_norm)


def takes_any_size(encoder: dict[str, Any]) -> bool:
    """Whether the family encodes images of other sizes at their own size."""
    config = encoder_config(encoder)
    return family_of(config).any_size(config)
