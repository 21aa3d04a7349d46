"""The Inkling 2 line, whose image processor transformers has on torchvision only."""

from __future__ import annotations

from typing import Any

import transformers

from .merged import VIT
from .tiled import Values

_VISION = VIT | {"posemb_grid_size": 5, "projection_hidden_dim": 28, "text_hidden_size": 40}
_TEXT = {
    "hidden_size": 40,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 20,
    "swa_num_attention_heads": 2,
    "swa_num_key_value_heads": 2,
    "swa_head_dim": 20,
    "vocab_size": 64,
    "unpadded_vocab_size": 64,
    "moe_intermediate_size": 16,
    "n_routed_experts": 2,
    "num_experts_per_tok": 1,
    "n_layers_per_attn_res_block": 1,
    "layer_types": ["hybrid"],
    "pad_token_id": 0,
}


def inkling2(name: str = "Inkling2", text: dict[str, Any] | None = None, **changed: Any) -> tuple[Any, Any]:
    vision = _VISION | changed
    config = getattr(transformers, f"{name}Config")(
        vision_config=vision, text_config=_TEXT | (text or {}), image_token_id=63
    )
    side = vision["patch_size"] * vision.get("spatial_merge_size", 2)
    processor = Values("Inkling2ImageProcessor", size={"height": side, "width": side})
    return getattr(transformers, f"{name}ForConditionalGeneration")(config), processor


VLMS = {
    "inkling2": inkling2,
    "inkling2/merge3": lambda: inkling2(
        spatial_merge_size=3,
        projector_bias=True,
        hidden_act="silu",
        layer_norm_eps=1e-3,
        intermediate_size=None,
        mlp_ratio=1.5,
    ),
    "inkling2_loop": lambda: inkling2(
        "Inkling2Loop",
        {
            "num_hidden_layers": 3,
            "layer_types": ["hybrid"] * 3,
            "loop_layer_index_start": 1,
            "loop_layer_index_end": 2,
            "loop_gate_rank": 4,
        },
        model_type="inkling2_vision",
    ),
}
