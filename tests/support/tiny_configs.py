"""Config blocks of the tiny encoders, by kind: `tiny` makes and saves them."""

from __future__ import annotations

from typing import Any

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
        "molmo2_vision": {**_MLP, "head_dim": 8, "num_key_value_heads": 4},
        "molmo2_vision/shared keys": {
            **_MLP,
            "head_dim": 6,
            "num_key_value_heads": 2,
            "attention_bias": False,
            "image_size": 30,
            "num_position_embeddings": 9,
        },
        "phi4_multimodal_vision": _MLP,
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
        "video_llama_3_vision": _VIT,
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
