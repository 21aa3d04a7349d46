"""Tiny encoders of every family, made and saved by transformers: the truth of the parity tests."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from vision_composer.encoders import FAMILIES, family_of
from vision_composer.schemas import encoder_config

from .tiny_dense import BLOCKS, DENSE, ENCODERS, MLP

UNDECLARED = {"use_mask_token", "video_temporal_patch_size", "vision_use_head"}
"""Fields that the oldest supported transformers reads from a config without declaring them."""

_QWEN_LARGE = {"depth": 4, "num_heads": 4, "patch_size": 16}
"""For families whose image processor makes no image smaller than 256 x 256 pixels."""
_QWEN = {"depth": 4, "num_heads": 4, "patch_size": 4}
_VIT = {**BLOCKS, **MLP, "patch_size": 4}
_WIDTHS = {**MLP, "hidden_size": 32, "out_hidden_size": 24}

PACKED: dict[str, dict[str, Any]] = {
    name: {"model_type": name.partition("/")[0], **fields}
    for name, fields in {
        "cosmos3_edge_vision": {**_VIT, "patch_size": 16, "num_patches": 25},
        "ernie4_5_vl_moe_vision": {**_QWEN, **MLP, "hidden_size": 32},
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
        "muse_glimmer_vision": {
            **_VIT,
            "patch_size": 8,
            "pos_emb_height": 5,
            "pos_emb_width": 5,
            "patch_temporal": 1,
        },
        "paddleocr_vl_vision": {**_VIT, "patch_size": 32, "image_size": 160},
        "pixtral": {**DENSE, **MLP, "image_size": 64},
        "pixtral/theta": {
            **DENSE,
            **MLP,
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

_SIGLIP = {**BLOCKS, **MLP, "patch_size": 8}
_IDEFICS = {**DENSE, **MLP, "image_size": 40}

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
    **MLP,
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
