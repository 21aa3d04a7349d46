"""VLMs around towers and connectors of others, under names of their own."""

from __future__ import annotations

from typing import Any

import transformers

from .parts import SIDE, TEXT

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


VLMS = {
    "pp_chart2table": pp_chart2table,
    "diffusion_gemma": diffusion_gemma,
    "qianfan_ocr": qianfan_ocr,
    "qianfan_ocr/normed": lambda: qianfan_ocr(
        use_mean_pooling=False, use_qk_norm=True, norm_type="rms_norm", attention_bias=False
    ),
}
