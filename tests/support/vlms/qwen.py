"""VLMs whose tower's merger makes what the language model reads."""

from __future__ import annotations

from typing import Any

import transformers

from .parts import TEXT

_ROPE = {"rope_type": "default", "mrope_section": [3, 3, 4], "rope_theta": 10_000.0}


def qwen2_5_vl() -> tuple[Any, Any]:
    vision = {"depth": 3, "hidden_size": 32, "intermediate_size": 48, "num_heads": 4, "out_hidden_size": 40}
    text = TEXT | {"model_type": "qwen2_5_vl_text", "rope_parameters": _ROPE}
    config = transformers.Qwen2_5_VLConfig(
        vision_config=vision | {"window_size": 56, "fullatt_block_indexes": [1]},
        text_config=text,
        image_token_id=63,
        video_token_id=62,
        vision_start_token_id=61,
    )
    processor = transformers.Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=28 * 28 * 30)
    return transformers.Qwen2_5_VLForConditionalGeneration(config), processor


VLMS = {"qwen2_5_vl": qwen2_5_vl}
