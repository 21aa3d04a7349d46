"""VLMs around Pixtral."""

from __future__ import annotations

from typing import Any

import transformers

from .parts import TEXT

PIXTRAL = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 112,
    "patch_size": 8,
}


def mistral3(**fields: Any) -> tuple[Any, Any]:
    config = transformers.Mistral3Config(
        vision_config=PIXTRAL | {"model_type": "pixtral"},
        text_config=TEXT | {"model_type": "mistral"},
        image_token_index=63,
        **fields,
    )
    processor = transformers.PixtralImageProcessorPil(size={"longest_edge": 112}, patch_size=16)
    return transformers.Mistral3ForConditionalGeneration(config), processor


def mistral_large4(**fields: Any) -> tuple[Any, Any]:
    latent = {"kv_lora_rank": 8, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}
    experts = {"n_routed_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16}
    config = transformers.MistralLarge4Config(
        vision_config=PIXTRAL | {"model_type": "pixtral"},
        text_config=TEXT | latent | experts | {"model_type": "mistral_large4_text", "rms_norm_eps": 1e-3},
        image_token_index=63,
        **fields,
    )
    processor = transformers.PixtralImageProcessorPil(size={"longest_edge": 112}, patch_size=24)
    return transformers.MistralLarge4ForConditionalGeneration(config), processor


def lighton_ocr() -> tuple[Any, Any]:
    config = transformers.LightOnOcrConfig(
        vision_config=PIXTRAL | {"model_type": "pixtral"},
        text_config=TEXT | {"model_type": "qwen3"},
        image_token_id=63,
    )
    processor = transformers.PixtralImageProcessorPil(size={"longest_edge": 112}, patch_size=16)
    return transformers.LightOnOcrForConditionalGeneration(config), processor


VLMS = {
    "mistral3": mistral3,
    "mistral3/hidden state": lambda: mistral3(vision_feature_layer=2, projector_hidden_act="relu"),
    "mistral_large4": lambda: mistral_large4(spatial_merge_size=3, multimodal_projector_bias=True),
    "lighton_ocr": lighton_ocr,
}
