"""VLMs that put a connector behind a tower of packed patches."""

from __future__ import annotations

from functools import partial
from typing import Any

import transformers
from transformers.models.kimi_k25.configuration_kimi_k25 import Kimi_K25Config

from .parts import TEXT
from .qwen import QWEN2_5, TOKENS, image_processor

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


def kimi_k25(**changed: Any) -> tuple[Any, Any]:
    config = Kimi_K25Config(
        vision_config=VIT | {"pos_emb_height": 5, "pos_emb_width": 5} | changed,
        text_config=TEXT | _LATENT,
        projection_hidden_size=32,
        projection_layer_norm_eps=1e-3,
        **TOKENS,
    )
    return transformers.AutoModelForImageTextToText.from_config(config), None


VLMS = {
    "hyperclovax_vision_v2": hyperclovax_vision_v2,
    "minimax_m3_vl": minimax_m3_vl,
    "minimax_m3_vl/merge3": partial(minimax_m3_vl, spatial_merge_size=3, temporal_patch_size=1),
}
WITHOUT_PROCESSOR = {
    "kimi_k25": kimi_k25,
    "kimi_k25/merge3": partial(kimi_k25, merge_kernel_size=(3, 3)),
}
