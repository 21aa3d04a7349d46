"""Ovis2, whose rows are means of a table of visual words."""

from __future__ import annotations

from functools import partial
from typing import Any

import transformers

from .parts import CLIP, TEXT

_VIT = {key: value for key, value in CLIP.items() if key != "model_type"}
_VIT |= {"vocab_size": 24, "num_visual_indicator_tokens": 5, "hidden_stride": 2}


def ovis2(vision: dict[str, Any], **processor: Any) -> tuple[Any, Any]:
    config = transformers.Ovis2Config(
        vision_config=_VIT | vision,
        text_config=TEXT | {"model_type": "qwen2"},
        hidden_size=40,
        vocab_size=64,
        image_token_id=63,
        visual_indicator_token_ids=[58, 59, 60, 61, 62],
    )
    side = config.vision_config.image_size
    made = transformers.Ovis2ImageProcessorPil(size={"height": side, "width": side}, **processor)
    return transformers.Ovis2ForConditionalGeneration(config), made


VLMS = {
    "ovis2": partial(ovis2, {}, crop_to_patches=True, max_patches=9),
    "ovis2/whole": partial(
        ovis2,
        {
            "image_size": 24,
            "hidden_stride": 3,
            "tokenize_function": "st_argmax",
            "num_visual_indicator_tokens": 3,
        },
    ),
    "ovis2/closest": partial(
        ovis2,
        {"hidden_stride": 1, "qkv_bias": True, "mlp_bias": True},
        crop_to_patches=True,
        use_covering_area_grid=False,
        min_patches=2,
        max_patches=7,
    ),
}
