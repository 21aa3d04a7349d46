"""VLMs whose image processors transformers has for torchvision only; ours cut their images."""

from __future__ import annotations

from typing import Any

import transformers

from .parts import SIDE, SIGLIP, TEXT, Values


def cohere2_vision() -> tuple[Any, Any]:
    config = transformers.Cohere2VisionConfig(
        vision_config=SIGLIP | {"vision_use_head": False},
        text_config=TEXT | {"model_type": "cohere2"},
        image_token_id=63,
        alignment_intermediate_size=48,
    )
    processor = Values("Cohere2VisionImageProcessor", size=SIDE, max_patches=5)
    return transformers.Cohere2VisionForConditionalGeneration(config), processor


def llama4() -> tuple[Any, Any]:
    vision = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 128}
    vision |= {"image_size": 32, "patch_size": 8, "vision_output_dim": 24, "projector_output_dim": 24}
    text = TEXT | {"model_type": "llama4_text", "intermediate_size_mlp": 32, "num_local_experts": 1}
    config = transformers.Llama4Config(
        vision_config=vision | {"projector_input_dim": 24},
        text_config=text | {"pad_token_id": 0},
        image_token_index=63,
    )
    processor = Values("Llama4ImageProcessor", size=SIDE, max_patches=6)
    return transformers.Llama4ForConditionalGeneration(config), processor


def granite_docling(factor: int = 4, **values: Any) -> tuple[Any, Any]:
    vision = {key: value for key, value in SIGLIP.items() if key != "model_type"}
    route = {"out_hidden_size": 40, "scale_factor": factor, "use_fine_route": False}
    config = transformers.GraniteDoclingConfig(
        vision_config=vision | route | {"deepstack_visual_indexes": [0, 2]},
        text_config=TEXT | {"model_type": "granite_docling_text", "num_hidden_layers": 3, "pad_token_id": 0},
        image_token_id=63,
        pad_token_id=0,
    )
    processor = transformers.GraniteDoclingImageProcessorPil(size=SIDE, **values)
    return transformers.GraniteDoclingForConditionalGeneration(config), processor


VLMS = {
    "granite_docling": granite_docling,
    "granite_docling/dense": lambda: granite_docling(
        2,
        min_patches=2,
        max_patches=4,
        dense_max_patches=12,
        dense_max_scale=0.9,
        dense_min_aspect=1.1,
        dense_max_aspect=4.0,
    ),
    "cohere2_vision": cohere2_vision,
    "llama4": llama4,
}
