"""LLaVA and its descendants."""

from __future__ import annotations

from typing import Any

import transformers

from .parts import CLIP, SIDE, SIGLIP, TEXT

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


def llava_next_video() -> tuple[Any, Any]:
    config = transformers.LlavaNextVideoConfig(
        vision_config=CLIP,
        text_config=TEXT,
        image_token_index=63,
        video_token_index=62,
        image_grid_pinpoints=PINPOINTS,
    )
    processor = transformers.LlavaNextImageProcessorPil(
        size={"shortest_edge": 32}, crop_size=SIDE, image_grid_pinpoints=PINPOINTS
    )
    return transformers.LlavaNextVideoForConditionalGeneration(config), processor


def llava_onevision(**fields: Any) -> tuple[Any, Any]:
    pinpoints = [[32 * rows, 32 * columns] for rows in range(1, 5) for columns in range(1, 5)]
    config = transformers.LlavaOnevisionConfig(
        vision_config=SIGLIP | {"vision_use_head": False},
        text_config=TEXT | {"model_type": "qwen2"},
        image_token_index=63,
        image_grid_pinpoints=pinpoints,
        vision_feature_select_strategy="full",
        vision_feature_layer=-1,
        **fields,
    )
    processor = transformers.LlavaOnevisionImageProcessorPil(size=SIDE, image_grid_pinpoints=pinpoints)
    return transformers.LlavaOnevisionForConditionalGeneration(config), processor


def vipllava(**fields: Any) -> tuple[Any, Any]:
    config = transformers.VipLlavaConfig(vision_config=CLIP, text_config=TEXT, image_token_index=63, **fields)
    processor = transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SIDE)
    return transformers.VipLlavaForConditionalGeneration(config), processor


def video_llava(**fields: Any) -> tuple[Any, Any]:
    config = transformers.VideoLlavaConfig(
        vision_config=CLIP, text_config=TEXT, image_token_index=63, video_token_index=62, **fields
    )
    processor = transformers.VideoLlavaImageProcessor(size={"shortest_edge": 32}, crop_size=SIDE)
    return transformers.VideoLlavaForConditionalGeneration(config), processor


VLMS = {
    "llava": llava,
    "llava/two layers": lambda: llava(
        vision_feature_layer=[-2, 1], projector_hidden_act="relu", multimodal_projector_bias=False
    ),
    "llava_next": llava_next,
    "llava_next_video": llava_next_video,
    "llava_onevision": llava_onevision,
    "llava_onevision/at most two": lambda: llava_onevision(vision_aspect_ratio="anyres_max_2"),
    "video_llava": video_llava,
    "video_llava/full": lambda: video_llava(
        vision_feature_select_strategy="full", vision_feature_layer=2, projector_hidden_act="silu"
    ),
    "vipllava": lambda: vipllava(vision_feature_layers=[-1, -3], projector_layernorm_eps=0.1),
}
