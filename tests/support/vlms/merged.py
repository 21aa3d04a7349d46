"""VLMs that put a connector behind a tower of packed patches."""

from __future__ import annotations

from functools import partial
from typing import Any

import transformers
from transformers.models.kimi_k25.configuration_kimi_k25 import Kimi_K25Config

from .parts import TEXT, Values
from .qwen import QWEN2_5, ROPE, TOKENS, image_processor

VIT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "patch_size": 6,
}
_ONE = {"image_token_id": 63, "video_token_id": 62}
_SPARSE = {"model_type": "minimax_m3_vl_text", "num_local_experts": 2, "num_experts_per_tok": 1}
_LATENT = {
    "model_type": "deepseek_v3",
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "n_routed_experts": 2,
    "num_experts_per_tok": 1,
    "n_group": 1,
    "topk_group": 1,
    "moe_intermediate_size": 16,
}


def hyperclovax_vision_v2() -> tuple[Any, Any]:
    config = transformers.HyperCLOVAXVisionV2Config(
        vision_config=QWEN2_5 | {"model_type": "qwen2_5_vl_vision", "out_hidden_size": 24},
        text_config=TEXT | {"model_type": "hyperclovax"},
        **_ONE,
    )
    return transformers.HyperCLOVAXVisionV2ForConditionalGeneration(config), image_processor(QWEN2_5)


def minimax_m3_vl(**changed: Any) -> tuple[Any, Any]:
    vision = VIT | changed
    config = transformers.MiniMaxM3VLConfig(
        vision_config=vision,
        text_config=TEXT | _SPARSE,
        image_token_index=63,
        video_token_index=62,
        projector_hidden_size=28,
    )
    return transformers.AutoModelForImageTextToText.from_config(config), image_processor(vision)


def kimi_k25(merge: int = 2) -> tuple[Any, Any]:
    table = {"pos_emb_height": 5, "pos_emb_width": 5}
    config = Kimi_K25Config(
        vision_config=VIT | table | {"merge_kernel_size": (merge, merge)},
        text_config=TEXT | _LATENT,
        projection_hidden_size=32,
        projection_layer_norm_eps=1e-3,
        **TOKENS,
    )
    processor = Values("Kimi_K25ImageProcessor", patch_size=6, merge_size=merge, max_patches=150)
    return transformers.AutoModelForImageTextToText.from_config(config), processor


def paddleocr_vl(**changed: Any) -> tuple[Any, Any]:
    vision = VIT | {"image_size": 30} | changed
    language = TEXT | {"model_type": "paddleocr_vl_text", "rope_parameters": dict(ROPE)}
    config = transformers.PaddleOCRVLConfig(vision_config=vision, text_config=language, **TOKENS)
    processor = transformers.PaddleOCRVLImageProcessorPil(
        size={"shortest_edge": 60 * 60, "longest_edge": 100 * 100},
        patch_size=6,
        merge_size=vision.get("spatial_merge_size", 2),
    )
    return transformers.PaddleOCRVLForConditionalGeneration(config), processor


def ernie4_5_vl_moe(**changed: Any) -> tuple[Any, Any]:
    fields = {"depth": 3, "hidden_size": 32, "intermediate_size": 48, "num_heads": 4, "patch_size": 6}
    vision = fields | changed
    language = TEXT | {"model_type": "ernie4_5_vl_moe_text", "rope_parameters": dict(ROPE)}
    language |= {"moe_num_experts": 2, "moe_k": 1, "moe_intermediate_size": [16, 16]}
    config = transformers.Ernie4_5_VLMoeConfig(
        vision_config=vision, text_config=language | {"rms_norm_eps": 1e-3}, **_ONE
    )
    processor = transformers.Ernie4_5_VLMoeImageProcessorPil(
        size={"shortest_edge": 60 * 60, "longest_edge": 100 * 100},
        patch_size=6,
        merge_size=vision.get("spatial_merge_size", 2),
    )
    return transformers.Ernie4_5_VLMoeForConditionalGeneration(config), processor


def hunyuan_vl(**changed: Any) -> tuple[Any, Any]:
    vision = VIT | {"max_image_size": 30} | changed
    language = TEXT | {"model_type": "hunyuan_vl_text"}
    config = transformers.HunYuanVLConfig(vision_config=vision, text_config=language, image_token_id=63)
    processor = transformers.HunYuanVLImageProcessorPil(
        size={"shortest_edge": 60 * 60, "longest_edge": 100 * 100},
        patch_size=6,
        merge_size=vision.get("spatial_merge_size", 2),
    )
    return transformers.HunYuanVLForConditionalGeneration(config), processor


def cosmos3_edge(**changed: Any) -> tuple[Any, Any]:
    vision = VIT | {"num_patches": 81} | changed
    language = TEXT | {"model_type": "cosmos3_edge_text", "rope_parameters": dict(ROPE)}
    config = transformers.Cosmos3EdgeConfig(
        vision_config=vision, text_config=language, projector_hidden_size=28, **TOKENS
    )
    processor = transformers.Cosmos3EdgeImageProcessorPil(
        size={"shortest_edge": 60 * 60, "longest_edge": 100 * 100},
        patch_size=6,
        merge_size=vision.get("spatial_merge_size", 2),
    )
    return transformers.Cosmos3EdgeForConditionalGeneration(config), processor


VLMS = {
    "cosmos3_edge": cosmos3_edge,
    "cosmos3_edge/merge3": partial(cosmos3_edge, spatial_merge_size=3, num_patches=900, hidden_act="gelu"),
    "hunyuan_vl": hunyuan_vl,
    "hunyuan_vl/bicubic": partial(
        hunyuan_vl, spatial_merge_size=3, interpolate_mode="bicubic", hidden_act="silu", rms_norm_eps=1e-3
    ),
    "ernie4_5_vl_moe": ernie4_5_vl_moe,
    "ernie4_5_vl_moe/merge3": partial(
        ernie4_5_vl_moe, spatial_merge_size=3, rms_norm_eps=1e-3, hidden_act="gelu"
    ),
    "paddleocr_vl": paddleocr_vl,
    "paddleocr_vl/merge3": partial(paddleocr_vl, spatial_merge_size=3, image_size=20, hidden_act="gelu"),
    "hyperclovax_vision_v2": hyperclovax_vision_v2,
    "kimi_k25": kimi_k25,
    "kimi_k25/merge3": partial(kimi_k25, merge=3),
    "minimax_m3_vl": minimax_m3_vl,
    "minimax_m3_vl/merge3": partial(minimax_m3_vl, spatial_merge_size=3, temporal_patch_size=1),
}
