"""LLaVA and its descendants."""

from __future__ import annotations

from typing import Any

import transformers

from .parts import CLIP, SIDE, TEXT

PINPOINTS = [[32, 64], [64, 32], [64, 64], [96, 32]]


def llava(**fields: Any) -> tuple[Any, Any]:
    config = transformers.LlavaConfig(vision_config=CLIP, text_config=TEXT, image_token_index=63, **fields)
    processor = transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SIDE)
    return transformers.LlavaForConditionalGeneration(config), processor


def llava_next(**fields: Any) -> tuple[Any, Any]:
    config = transformers.LlavaNextConfig(
        vision_config=CLIP, text_config=TEXT, image_token_index=63, image_grid_pinpoints=PINPOINTS, **fields
    )
    processor = transformers.LlavaNextImageProcessorPil(
        size={"shortest_edge": 32}, crop_size=SIDE, image_grid_pinpoints=PINPOINTS
    )
    return transformers.LlavaNextForConditionalGeneration(config), processor


VLMS = {
    "llava": llava,
    "llava/two layers": lambda: llava(
        vision_feature_layer=[-2, 1], projector_hidden_act="relu", multimodal_projector_bias=False
    ),
    "llava_next": llava_next,
}
