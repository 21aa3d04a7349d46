"""Tiny encoders of every family, made and saved by transformers: the truth of the parity tests."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from vision_composer.encoders import FAMILIES, family_of
from vision_composer.schemas import encoder_config

UNDECLARED = {"use_mask_token", "video_temporal_patch_size", "vision_use_head"}
"""Fields that the oldest supported transformers reads from a config without declaring them."""

_BLOCKS = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4}
_DENSE = {**_BLOCKS, "image_size": 32, "patch_size": 8}
_MLP = {"intermediate_size": 48}

ENCODERS: dict[str, dict[str, Any]] = {
    name: {"model_type": name.partition("/")[0], **_DENSE, **fields}
    for name, fields in {
        "aimv2_vision_model": _MLP,
        "aimv2_vision_model/native": {
            **_MLP,
            "is_native": True,
            "qkv_bias": True,
            "mlp_bias": True,
        },
        "blip_vision_model": _MLP,
        "blip_2_vision_model": _MLP,
        "blip_2_vision_model/unbiased": {**_MLP, "qkv_bias": False, "image_size": 30},
        "clip_vision_model": _MLP,
        "clip_vision_model/indivisible": {**_MLP, "image_size": 30, "num_channels": 1},
        "dinov2": {"mlp_ratio": 2},
        "dinov2/swiglu": {"mlp_ratio": 3, "use_swiglu_ffn": True, "qkv_bias": False, "use_mask_token": False},
        "dinov2_with_registers": {"mlp_ratio": 2, "num_register_tokens": 3},
        "dinov2_with_registers/none": {"mlp_ratio": 2, "num_register_tokens": 0},
        "dinov3_vit": {**_MLP, "num_register_tokens": 2},
        "dinov3_vit/gated": {
            **_MLP,
            "use_gated_mlp": True,
            "key_bias": True,
            "mlp_bias": False,
        },
        "got_ocr2_vision": {
            "mlp_dim": 48,
            "output_channels": 24,
            "window_size": 3,
            "global_attn_indexes": [1, 3],
        },
        "got_ocr2_vision/plain": {
            "mlp_dim": 48,
            "output_channels": 16,
            "image_size": 30,
            "num_channels": 1,
            "window_size": 0,
            "qkv_bias": False,
            "use_abs_pos": False,
            "use_rel_pos": False,
        },
        "granite_docling_vision": _MLP,
        "ijepa": _MLP,
        "ijepa/unbiased": {**_MLP, "qkv_bias": False, "image_size": 30, "num_channels": 1},
        "internvl_vision": _MLP,
        "internvl_vision/normed": {
            **_MLP,
            "use_mean_pooling": False,
            "use_qk_norm": True,
            "norm_type": "rms_norm",
            "attention_bias": True,
            "use_mask_token": True,
        },
        "janus_vision_model": {"mlp_ratio": 1.7},
        "janus_vision_model/unbiased": {
            "mlp_ratio": 2.0,
            "attention_bias": False,
            "image_size": 37,
            "hidden_act": "relu",
        },
        "llama4_vision_model": {
            "intermediate_size": 128,
            "projector_input_dim": 24,
            "projector_output_dim": 24,
        },
        "llama4_vision_model/unmerged": {
            "intermediate_size": 32,
            "pixel_shuffle_ratio": 1.0,
            "projector_input_dim": 40,
            "projector_output_dim": 40,
            "image_size": 30,
            "num_channels": 1,
            "rope_parameters": {"rope_type": "default", "rope_theta": 50.0},
        },
        "metaclip_2_vision_model": _MLP,
        "mlcd_vision_model": _MLP,
        "ovis2_vision": _MLP,
        "ovis2_vision/biased": {
            **_MLP,
            "qkv_bias": True,
            "mlp_bias": True,
            "image_size": 37,
            "num_channels": 1,
            "hidden_act": "gelu",
        },
        "qianfan_ocr_vision": _MLP,
        "radio": {"mlp_ratio": 2.0, "max_img_size": 48, "num_cls_tokens": 2, "num_registers": 3},
        "radio/grey": {
            "mlp_ratio": 1.7,
            "qkv_bias": False,
            "max_img_size": 20,
            "num_cls_tokens": 1,
            "num_registers": 0,
            "num_channels": 1,
            "norm_mean": [0.3],
            "norm_std": [0.2],
            "summary_idxs": [0],
            "video_temporal_patch_size": 2,
        },
        "siglip_vision_model": _MLP,
        "siglip_vision_model/indivisible": {
            **_MLP,
            "image_size": 37,
            "vision_use_head": False,
        },
        "vit": _MLP,
        "vit/narrow": {
            **_MLP,
            "qkv_bias": False,
            "pooler_output_size": 24,
            "pooler_act": "relu",
            "image_size": 30,
            "num_channels": 1,
        },
    }.items()
}
"""name -> encoder block of a dense family; what stands behind a slash says what is special."""

_QWEN_LARGE = {"depth": 4, "num_heads": 4, "patch_size": 16}
"""For families whose image processor makes no image smaller than 256 x 256 pixels."""
_QWEN = {"depth": 4, "num_heads": 4, "patch_size": 4}
_VIT = {**_BLOCKS, **_MLP, "patch_size": 4}
_WIDTHS = {**_MLP, "hidden_size": 32, "out_hidden_size": 24}

PACKED: dict[str, dict[str, Any]] = {
    name: {"model_type": name.partition("/")[0], **fields}
    for name, fields in {
        "cosmos3_edge_vision": {**_VIT, "patch_size": 16, "num_patches": 25},
        "ernie4_5_vl_moe_vision": {**_QWEN, **_MLP, "hidden_size": 32},
        "exaone4_5_vision": {
            **_QWEN,
            **_WIDTHS,
            "num_key_value_heads": 2,
            "window_size": 24,
            "fullatt_block_indexes": [1, 3],
        },
        "glm4v_vision": {**_QWEN, **_WIDTHS, "image_size": 20},
        "glm4v_vision/biased": {
            **_QWEN,
            **_WIDTHS,
            "image_size": 12,
            "attention_bias": True,
            "spatial_merge_size": 3,
            "rope_parameters": {"rope_type": "axial", "rope_theta": 50.0},
        },
        "glm5_next_vision": {
            **_QWEN,
            **_WIDTHS,
            "patch_size": 8,
            "projection_intermediate_size": 40,
            "swiglu_limit": 0.3,
        },
        "glm_ocr_vision": {**_QWEN, **_WIDTHS, "patch_size": 8},
        "hunyuan_vl_vision": {**_VIT, "patch_size": 32, "max_image_size": 160},
        "hy_v4_vl_vision": {**_VIT, "patch_size": 32, "max_image_size": 160},
        "kimi_k25_vision": {**_VIT, "pos_emb_height": 5, "pos_emb_width": 5},
        "kimi_k25_vision/merge3": {
            **_VIT,
            "pos_emb_height": 4,
            "pos_emb_width": 4,
            "merge_kernel_size": [3, 3],
        },
        "minimax_m3_vl_vision": _VIT,
        "minimax_m3_vl_vision/unmerged": {**_VIT, "spatial_merge_size": 1, "temporal_patch_size": 1},
        "inkling2_vision": {
            **_VIT,
            "posemb_grid_size": 5,
            "projection_hidden_dim": 40,
            "text_hidden_size": 24,
        },
        "lfm3_vl_vision": {**_VIT, "num_key_value_heads": 2},
        "muse_glimmer_vision": {
            **_VIT,
            "patch_size": 8,
            "pos_emb_height": 5,
            "pos_emb_width": 5,
            "patch_temporal": 1,
        },
        "paddleocr_vl_vision": {**_VIT, "patch_size": 32, "image_size": 160},
        "pixtral": {**_DENSE, **_MLP, "image_size": 64},
        "pixtral/theta": {
            **_DENSE,
            **_MLP,
            "hidden_act": "silu",
            "rope_parameters": {"rope_type": "axial", "rope_theta": 50.0},
        },
        "video_llama_3_vision": _VIT,
        "qwen2_vl_vision": {**_QWEN, "embed_dim": 32, "hidden_size": 24, "mlp_ratio": 2},
        "qwen2_vl_vision/merge3": {
            **_QWEN,
            "embed_dim": 32,
            "hidden_size": 24,
            "spatial_merge_size": 3,
            "temporal_patch_size": 1,
        },
        "qwen2_5_omni_vision_encoder": {
            **_QWEN,
            **_WIDTHS,
            "window_size": 24,
            "fullatt_block_indexes": [1, 3],
        },
        "qwen2_5_vl_vision": {**_QWEN, **_WIDTHS, "window_size": 24, "fullatt_block_indexes": [1, 3]},
        "qwen2_5_vl_vision/windows": {**_QWEN, **_WIDTHS, "window_size": 17, "fullatt_block_indexes": []},
        "qwen3_5_vision": {**_QWEN_LARGE, **_WIDTHS, "num_position_embeddings": 25},
        "qwen3_5_vision/unmerged": {
            **_QWEN_LARGE,
            **_WIDTHS,
            "num_position_embeddings": 9,
            "spatial_merge_size": 1,
        },
        "qwen3_omni_moe_vision_encoder": {
            **_QWEN_LARGE,
            **_WIDTHS,
            "num_position_embeddings": 25,
            "deepstack_visual_indexes": [0, 2],
        },
        "qwen3_vl_vision": {
            **_QWEN_LARGE,
            **_WIDTHS,
            "num_position_embeddings": 25,
            "deepstack_visual_indexes": [0, 2],
        },
        "qwen3_vl_vision/unsorted": {
            **_QWEN_LARGE,
            **_WIDTHS,
            "num_position_embeddings": 16,
            "deepstack_visual_indexes": [3, 1],
        },
    }.items()
}
"""The same of the packed families."""

_SIGLIP = {**_BLOCKS, **_MLP, "patch_size": 8}
_IDEFICS = {**_DENSE, **_MLP, "image_size": 40}

PADDED: dict[str, dict[str, Any]] = {
    name: {"model_type": name.partition("/")[0], **fields}
    for name, fields in {
        "gemma4_vision": {
            **_SIGLIP,
            "num_key_value_heads": 4,
            "head_dim": 8,
            "patch_size": 2,
            "pooling_kernel_size": 2,  # the processor fills 280 pooled tokens
        },
        "gemma4_vision/clipped": {
            **_SIGLIP,
            "num_key_value_heads": 2,
            "head_dim": 12,
            "patch_size": 3,
            "pooling_kernel_size": 2,
            "position_embedding_size": 1024,
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

_MLLAMA = {
    **_MLP,
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_global_layers": 2,
    "attention_heads": 4,
    "image_size": 16,
    "patch_size": 8,
}

TILED: dict[str, dict[str, Any]] = {
    name: {"model_type": name.partition("/")[0], **_MLLAMA, **fields}
    for name, fields in {
        "mllama_vision_model": {"intermediate_layers_indices": [2, 0]},
        "mllama_vision_model/six": {
            "intermediate_layers_indices": [3, -1, 1],
            "max_num_tiles": 6,
            "supported_aspect_ratios": [
                [rows, columns] for rows in range(1, 7) for columns in range(1, 6 // rows + 1)
            ],
            "image_size": 29,
            "num_channels": 1,
        },
        "mllama_vision_model/one": {
            "intermediate_layers_indices": [0],
            "max_num_tiles": 1,
            "supported_aspect_ratios": [[1, 1]],
        },
    }.items()
}
"""The same of the families that see tiles."""


ALL = ENCODERS | PACKED | PADDED | TILED


def encoder_of(model_type: str) -> dict[str, Any]:
    """The tiny encoder of a family, under the name of the family or of one of its variants."""
    return ALL[FAMILIES[model_type].model_type] | {"model_type": model_type}


def config(name: str, **keys: Any) -> dict[str, Any]:
    """A config of a dense or packed encoder with random weights."""
    return {"schema": 1, "encoder": (ENCODERS | PACKED)[name], **keys}


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


def with_weights_of(model: Any, tower: Any) -> Any:
    """``tower`` with the weights of transformers' model of the same encoder, which may have more."""
    assert tower.model.load_state_dict(model.state_dict(), strict=False).missing_keys == []
    return tower


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
    """transformers' hidden states 0 to N, (images, tokens, width)."""
    if model.config.model_type == "radio":  # refuses what does not fill a patch; others leave it out
        patch = model.config.patch_size
        height, width = (side // patch * patch for side in pixel_values.shape[2:])
        pixel_values = pixel_values[:, :, :height, :width]
    before_norm: list[torch.Tensor] = []
    if model.config.model_type == "ovis2_vision":  # puts the normed state in the place of the last one
        norm = model.transformer.rms_norm
        hook = norm.register_forward_pre_hook(lambda module, inputs: before_norm.append(inputs[0]))
    with torch.no_grad():
        states = model(pixel_values=pixel_values, output_hidden_states=True).hidden_states
    if before_norm:
        hook.remove()
        states = (*states[:-1], *before_norm)
    return tuple(state.flatten(1, -2) for state in states)


def own_output(model: Any, pixel_values: torch.Tensor) -> torch.Tensor:
    """transformers' last_hidden_state as (images, tokens, width)."""
    with torch.no_grad():
        output = model(pixel_values=pixel_values).last_hidden_state
    return output.flatten(2).transpose(1, 2) if output.dim() == 4 else output


def merged(model: Any, state: torch.Tensor) -> torch.Tensor:
    """What transformers makes of the last hidden state, normed or not, to get its own output."""
    if hasattr(model, "vision_adapter"):
        return model.vision_adapter(state[:, :-1])
    if hasattr(model, "neck"):
        side = model.config.image_size // model.config.patch_size
        return model.neck(state.unflatten(1, (side, side))).flatten(2).transpose(1, 2)
    return state


def post_norm(model: Any) -> torch.nn.Module:
    """transformers' norm behind the last block."""
    family = next(f for f in FAMILIES.values() if f.model_class == type(model).__name__)
    return model.get_submodule(family.post_norm)


def takes_any_size(encoder: dict[str, Any]) -> bool:
    """Whether the family encodes images of other sizes at their own size."""
    config = encoder_config(encoder)
    return family_of(config).any_size(config)
