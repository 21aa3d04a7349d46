"""Tiny encoders of the dense families, and what those of other families share with them."""

from __future__ import annotations

from typing import Any

BLOCKS = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4}
DENSE = {**BLOCKS, "image_size": 32, "patch_size": 8}
MLP = {"intermediate_size": 48}

ENCODERS: dict[str, dict[str, Any]] = {
    name: {"model_type": name.partition("/")[0], **DENSE, **fields}
    for name, fields in {
        "aimv2_vision_model": MLP,
        "aimv2_vision_model/native": {
            **MLP,
            "is_native": True,
            "qkv_bias": True,
            "mlp_bias": True,
        },
        "blip_vision_model": MLP,
        "blip_2_vision_model": MLP,
        "blip_2_vision_model/unbiased": {**MLP, "qkv_bias": False, "image_size": 30},
        "clip_vision_model": MLP,
        "clip_vision_model/indivisible": {**MLP, "image_size": 30, "num_channels": 1},
        "dinov2": {"mlp_ratio": 2},
        "dinov2/swiglu": {"mlp_ratio": 3, "use_swiglu_ffn": True, "qkv_bias": False, "use_mask_token": False},
        "dinov2_with_registers": {"mlp_ratio": 2, "num_register_tokens": 3},
        "dinov2_with_registers/none": {"mlp_ratio": 2, "num_register_tokens": 0},
        "dinov3_vit": {**MLP, "num_register_tokens": 2},
        "dinov3_vit/gated": {
            **MLP,
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
        "granite_docling_vision": MLP,
        "ijepa": MLP,
        "ijepa/unbiased": {**MLP, "qkv_bias": False, "image_size": 30, "num_channels": 1},
        "internvl_vision": MLP,
        "internvl_vision/normed": {
            **MLP,
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
        "metaclip_2_vision_model": MLP,
        "mlcd_vision_model": MLP,
        "ovis2_vision": MLP,
        "ovis2_vision/biased": {
            **MLP,
            "qkv_bias": True,
            "mlp_bias": True,
            "image_size": 37,
            "num_channels": 1,
            "hidden_act": "gelu",
        },
        "qianfan_ocr_vision": MLP,
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
        "siglip_vision_model": MLP,
        "siglip_vision_model/indivisible": {
            **MLP,
            "image_size": 37,
            "vision_use_head": False,
        },
        "vit": MLP,
        "vit/narrow": {
            **MLP,
            "qkv_bias": False,
            "pooler_output_size": 24,
            "pooler_act": "relu",
            "image_size": 30,
            "num_channels": 1,
        },
    }.items()
}
"""name -> encoder block of a dense family; what stands behind a slash says what is special."""
