"""Janus, which looks at images with one tower and makes them with another."""

from __future__ import annotations

from functools import partial
from typing import Any

import transformers

from .parts import SIDE, TEXT

_VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
    "mlp_ratio": 1.7,
    "projection_dim": 40,
    "num_image_tokens": 16,
}
_VQ = {
    "embed_dim": 8,
    "num_embeddings": 16,
    "latent_channels": 32,
    "base_channels": 32,
    "channel_multiplier": [1],
    "num_res_blocks": 1,
    "projection_dim": 40,
    "num_hidden_layers": 1,
    "image_token_embed_dim": 40,
}


def janus(**fields: Any) -> tuple[Any, Any]:
    config = transformers.JanusConfig(
        vision_config=_VIT | fields, text_config=TEXT, vq_config=_VQ, image_token_id=63
    )
    processor = transformers.JanusImageProcessorPil(size=SIDE, min_size=5)
    return transformers.JanusForConditionalGeneration(config), processor


VLMS = {
    "janus": janus,
    "janus/three layers": partial(janus, depth=3, hidden_act="relu", attention_bias=False),
}
