"""VLMs whose language models read images through cross-attention, not among their input embeddings."""

from __future__ import annotations

from functools import partial
from typing import Any

import transformers

from .parts import SIDE, TEXT

_VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_global_layers": 1,
    "attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 18,
    "patch_size": 6,
}


def mllama(layers: list[int], **fields: Any) -> tuple[Any, Any]:
    vision = _VIT | {"intermediate_layers_indices": layers, "vision_output_dim": 32 * (1 + len(layers))}
    text = TEXT | {"model_type": "mllama_text_model", "num_hidden_layers": 2, "cross_attention_layers": [1]}
    config = transformers.MllamaConfig(
        vision_config=vision | fields,
        text_config=text
        | {"pad_token_id": 0, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
        image_token_index=63,
    )
    processor = transformers.MllamaImageProcessorPil(
        size={"height": 18, "width": 18}, max_image_tiles=fields.get("max_num_tiles", 4)
    )
    return transformers.MllamaForConditionalGeneration(config), processor


def blip() -> tuple[Any, Any]:
    vision = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
    text = {key: value for key, value in TEXT.items() if key != "model_type"}
    config = transformers.BlipConfig(
        vision_config=vision
        | {"image_size": 32, "patch_size": 8, "layer_norm_eps": 1e-3, "hidden_act": "relu"},
        text_config=text | {"projection_dim": 16, "bos_token_id": 1, "sep_token_id": 2},
    )
    return transformers.BlipForConditionalGeneration(config), transformers.BlipImageProcessorPil(size=SIDE)


VLMS = {
    "blip": blip,
    "mllama": partial(mllama, [2, 0]),
    "mllama/three tiles": partial(
        mllama,
        [1, -1, 0],
        max_num_tiles=3,
        supported_aspect_ratios=[[1, 1], [1, 2], [1, 3], [2, 1], [3, 1]],
        hidden_act="relu",
    ),
}
