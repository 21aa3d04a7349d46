"""Ovis2."""

from __future__ import annotations

from typing import Any

import transformers

from .parts import SIDE, TEXT

_VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
    "vocab_size": 28,
}


def ovis2(processor: dict[str, Any], **changed: Any) -> tuple[Any, Any]:
    config = transformers.Ovis2Config(
        vision_config=_VISION | changed,
        text_config=TEXT | {"model_type": "qwen2"},
        image_token_id=63,
        visual_indicator_token_ids=[58, 59, 60, 61, 62],
        hidden_size=40,
        vocab_size=64,
    )
    made = transformers.Ovis2ImageProcessorPil(size=SIDE, **processor)
    return transformers.Ovis2ForConditionalGeneration(config), made


VLMS = {
    "ovis2": lambda: ovis2({"crop_to_patches": True, "max_patches": 7}),
    "ovis2/closest": lambda: ovis2(
        {"crop_to_patches": True, "min_patches": 2, "max_patches": 5, "use_covering_area_grid": False},
        hidden_stride=2,
        qkv_bias=True,
        mlp_bias=True,
        tokenize_function="st_argmax",
        num_visual_indicator_tokens=3,
    ),
    "ovis2/whole": lambda: ovis2({}, hidden_act="gelu", rms_norm_eps=1e-3),
}
