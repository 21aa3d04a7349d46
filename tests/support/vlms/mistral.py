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
    "lighton_ocr": lighton_ocr,
}
