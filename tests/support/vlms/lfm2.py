"""Liquid's VLMs, of which LFM2-VL has its image processor on torchvision only."""

from __future__ import annotations

from typing import Any

import transformers

from .merged import VIT
from .parts import TEXT
from .qwen import TOKENS, image_processor
from .tiled import Values

_VISION = {
    "model_type": "siglip2_vision_model",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "patch_size": 4,
    "num_patches": 25,
    "vision_use_head": False,
}


def lfm2_vl(processor: dict[str, Any] | None = None, **fields: Any) -> tuple[Any, Any]:
    config = transformers.Lfm2VlConfig(
        vision_config=_VISION,
        text_config=TEXT | {"model_type": "lfm2", "layer_types": ["full_attention"]},
        image_token_id=63,
        **{"projector_hidden_size": 28, **fields},
    )
    values = {"encoder_patch_size": 4, "downsample_factor": fields.get("downsample_factor", 2)}
    values |= {"tile_size": 24, "min_image_tokens": 12, "max_image_tokens": 40, **(processor or {})}
    return transformers.Lfm2VlForConditionalGeneration(config), Values("Lfm2VlImageProcessor", **values)


def lfm3_vl(projector: dict[str, Any] | None = None, **changed: Any) -> tuple[Any, Any]:
    vision = VIT | {"num_key_value_heads": 2} | changed
    config = transformers.Lfm3VlConfig(
        vision_config=vision,
        text_config=TEXT | {"model_type": "lfm3", "layer_types": ["full_attention"], "pad_token_id": 0},
        **{"projector_hidden_size": 28, **(projector or {})},
        **TOKENS,
    )
    return transformers.Lfm3VlForConditionalGeneration(config), image_processor(vision)


VLMS = {
    "lfm3_vl": lfm3_vl,
    "lfm3_vl/other": lambda: lfm3_vl(
        {"projector_bias": False, "projector_hidden_act": "silu"},
        spatial_merge_size=3,
        temporal_patch_size=1,
        conv_kernel_size=5,
        norm_eps=1e-3,
        layer_types=["full_attention", "conv", "full_attention"],
    ),
    "lfm2_vl": lfm2_vl,
    "lfm2_vl/large tiles": lambda: lfm2_vl(
        {
            "tile_size": 60,
            "min_tiles": 3,
            "max_tiles": 5,
            "use_thumbnail": False,
            "max_pixels_tolerance": 1.1,
        },
        downsample_factor=3,
        projector_use_layernorm=False,
        projector_bias=False,
        projector_hidden_act="silu",
    ),
    "lfm2_vl/whole": lambda: lfm2_vl({"do_image_splitting": False}),
}
