"""Molmo2s: overlapping crops, whose patches are pooled in windows."""

from __future__ import annotations

from typing import Any

import transformers

from .parts import TEXT, Values


def molmo2(
    margins: tuple[int, int] = (1, 1), pooling: tuple[int, int] = (2, 2), **adapter: Any
) -> tuple[Any, Any]:
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 6}
    vision = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "patch_size": 8}
    read = {
        "vision_feature_layer": [3, 1],
        "hidden_size": 32,
        "intermediate_size": 24,
        "text_hidden_size": 40,
    }
    config = transformers.Molmo2Config(
        vision_config=vision | heads | {"image_size": [40, 40]},
        adapter_config=heads | read | adapter,
        text_config=TEXT | {"model_type": "molmo2_text", "additional_vocab_size": 4},
        image_patch_id=60,
    )
    processor = Values(
        "Molmo2ImageProcessor",
        size={"height": 40, "width": 40},
        patch_size=8,
        max_crops=5,
        overlap_margins=list(margins),
        pooling_size=list(pooling),
    )
    return transformers.Molmo2ForConditionalGeneration(config), processor


VLMS = {
    "molmo2": molmo2,
    "molmo2/one layer": lambda: molmo2(
        (0, 2),
        (3, 2),
        vision_feature_layer=[-2],
        num_attention_heads=3,
        num_key_value_heads=3,
        head_dim=10,
        attention_bias=False,
        mlp_bias=True,
        hidden_act="gelu",
    ),
}
