"""VLMs with connectors of their own kinds: perceivers, Q-Formers, aligners."""

from __future__ import annotations

from functools import partial
from typing import Any

import transformers

from .parts import SIGLIP, TEXT


def idefics2(*, splits: bool = False) -> tuple[Any, Any]:
    vision = {key: value for key, value in SIGLIP.items() if key != "model_type"}
    perceiver = {"hidden_size": 40, "resampler_depth": 2, "resampler_n_latents": 5, "resampler_n_heads": 4}
    config = transformers.Idefics2Config(
        vision_config=vision | {"image_size": 56},
        text_config=TEXT | {"model_type": "mistral", "intermediate_size": 24},
        perceiver_config=perceiver | {"resampler_head_dim": 6, "num_key_value_heads": 2},
        image_token_id=63,
    )
    processor = transformers.Idefics2ImageProcessorPil(
        size={"shortest_edge": 24, "longest_edge": 56}, do_image_splitting=splits
    )
    return transformers.Idefics2ForConditionalGeneration(config), processor


def deepseek_vl() -> tuple[Any, Any]:
    config = transformers.DeepseekVLConfig(
        vision_config=SIGLIP | {"vision_use_head": False}, text_config=TEXT, image_token_id=63
    )
    processor = transformers.DeepseekVLImageProcessorPil(size={"height": 32, "width": 32}, min_size=4)
    return transformers.DeepseekVLForConditionalGeneration(config), processor


def gemma4() -> tuple[Any, Any]:
    vision = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
    vision |= {"head_dim": 8, "patch_size": 4, "num_key_value_heads": 4, "pooling_kernel_size": 3}
    config = transformers.Gemma4Config(
        vision_config=vision,
        text_config=TEXT | {"model_type": "gemma4_text", "layer_types": ["full_attention"]},
        audio_config=None,
        image_token_id=63,
    )
    processor = transformers.Gemma4ImageProcessorPil(patch_size=4, pooling_kernel_size=3, max_soft_tokens=70)
    return transformers.Gemma4ForConditionalGeneration(config), processor


VLMS = {
    "idefics2": idefics2,
    "idefics2/split": partial(idefics2, splits=True),
    "deepseek_vl": deepseek_vl,
    "gemma4": gemma4,
}
