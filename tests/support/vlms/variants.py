"""VLMs around towers and connectors of others, under names of their own."""

from __future__ import annotations

from typing import Any

import transformers

from .merged import VIT
from .parts import SIDE, TEXT
from .qwen import SMALL, TOKENS, WIDTHS

_BLOCKS = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}


def pp_chart2table() -> tuple[Any, Any]:
    vision = _BLOCKS | {"mlp_dim": 48, "image_size": 32, "patch_size": 4, "output_channels": 24}
    config = transformers.PPChart2TableConfig(
        vision_config=vision | {"window_size": 3, "global_attn_indexes": [1]},
        text_config=TEXT | {"model_type": "qwen2"},
        image_token_index=63,
    )
    model = transformers.GotOcr2ForConditionalGeneration(config)
    return model, transformers.PPChart2TableImageProcessorPil(size=SIDE)


def diffusion_gemma() -> tuple[Any, Any]:
    vision = _BLOCKS | {"intermediate_size": 48, "head_dim": 8, "num_key_value_heads": 4}
    vision |= {"model_type": "gemma4_vision", "patch_size": 4, "pooling_kernel_size": 3}
    text = TEXT | {"layer_types": ["full_attention"], "num_experts": 2, "top_k_experts": 1}
    config = transformers.DiffusionGemmaConfig(
        vision_config=vision | {"rms_norm_eps": 1e-3},
        text_config=text | {"model_type": "diffusion_gemma_text", "moe_intermediate_size": 16},
        image_token_id=63,
    )
    processor = transformers.Gemma4ImageProcessorPil(patch_size=4, pooling_kernel_size=3, max_soft_tokens=70)
    return transformers.DiffusionGemmaForBlockDiffusion(config), processor


def qianfan_ocr(**fields: Any) -> tuple[Any, Any]:
    vision = _BLOCKS | {"intermediate_size": 48, "image_size": 32, "patch_size": 8} | fields
    config = transformers.QianfanOCRConfig(
        vision_config=vision, text_config=TEXT | {"model_type": "qwen3"}, image_token_id=63
    )
    processor = transformers.GotOcr2ImageProcessorPil(size=SIDE, max_patches=6)
    return transformers.QianfanOCRForConditionalGeneration(config), processor


def hy_v4_vl(**changed: Any) -> tuple[Any, Any]:
    vision = VIT | {"max_image_size": 30, "out_hidden_size": 40} | changed
    text = TEXT | {
        "model_type": "hy_v4_vl_text",
        "num_experts": 2,
        "num_experts_per_tok": 1,
        "pad_token_id": 0,
    }
    config = transformers.HYV4VLConfig(vision_config=vision, text_config=text, **TOKENS)
    processor = transformers.HYV4VLImageProcessorPil(
        size={"shortest_edge": 60 * 60, "longest_edge": 100 * 100},
        patch_size=6,
        merge_size=vision.get("spatial_merge_size", 2),
    )
    return transformers.HYV4VLForConditionalGeneration(config), processor


def glm5_next(**changed: Any) -> tuple[Any, Any]:
    vision = SMALL | WIDTHS | {"projection_intermediate_size": 28, "swiglu_limit": 0.3} | changed
    text = TEXT | {
        "model_type": "glm5_next_text",
        "n_routed_experts": 2,
        "num_experts_per_tok": 1,
        "pad_token_id": 0,
    }
    config = transformers.Glm5NextConfig(vision_config=vision, text_config=text, **TOKENS)
    processor = transformers.Glm5NextImageProcessorPil(
        patch_size=6,
        merge_size=vision.get("spatial_merge_size", 2),
        temporal_patch_size=vision.get("temporal_patch_size", 2),
        min_image_tokens=20,
        max_image_tokens=60,
    )
    return transformers.Glm5NextForConditionalGeneration(config), processor


def video_llama_3(**changed: Any) -> tuple[Any, Any]:
    config = transformers.VideoLlama3Config(
        vision_config=VIT | changed,
        text_config=TEXT | {"model_type": "qwen2"},
        image_token_id=63,
        video_token_id=62,
    )
    processor = transformers.VideoLlama3ImageProcessorPil(
        size={"shortest_edge": 60 * 60, "longest_edge": 80 * 80}, patch_size=6
    )
    return transformers.VideoLlama3ForConditionalGeneration(config), processor


VLMS = {
    "video_llama_3": video_llama_3,
    "video_llama_3/silu": lambda: video_llama_3(hidden_act="silu", layer_norm_eps=1e-3),
    "hy_v4_vl": hy_v4_vl,
    "hy_v4_vl/bicubic": lambda: hy_v4_vl(
        spatial_merge_size=3, interpolate_mode="bicubic", hidden_act="silu", rms_norm_eps=1e-3
    ),
    "glm5_next": glm5_next,
    "glm5_next/merge3": lambda: glm5_next(
        spatial_merge_size=3, temporal_patch_size=1, attention_bias=False, rms_norm_eps=1e-3
    ),
    "pp_chart2table": pp_chart2table,
    "diffusion_gemma": diffusion_gemma,
    "qianfan_ocr": qianfan_ocr,
    "qianfan_ocr/normed": lambda: qianfan_ocr(
        use_mean_pooling=False, use_qk_norm=True, norm_type="rms_norm", attention_bias=False
    ),
}
