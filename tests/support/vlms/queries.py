"""VLMs whose connectors read images through learned queries."""

from __future__ import annotations

from functools import partial
from typing import Any

import transformers

from .parts import CLIP, SIDE, TEXT

_VIT = {key: value for key, value in CLIP.items() if key != "model_type"}
_QFORMER = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 36}


def blip_2(text: dict[str, Any] = TEXT, num_query_tokens: int = 5, **qformer: Any) -> tuple[Any, Any]:
    config = transformers.Blip2Config(
        vision_config=_VIT,
        qformer_config=_QFORMER | qformer,
        text_config=text,
        image_token_index=63,
        num_query_tokens=num_query_tokens,
    )
    return transformers.Blip2ForConditionalGeneration(config), transformers.BlipImageProcessorPil(size=SIDE)


def aria(**fields: Any) -> tuple[Any, Any]:
    # Its processor makes squares of 980 pixels, whatever the image processor says.
    vision = _VIT | {"image_size": 980, "patch_size": 140, "model_type": "idefics3_vision"}
    experts = {"model_type": "aria_text", "moe_num_experts": 2, "moe_topk": 1, "pad_token_id": 0}
    config = transformers.AriaConfig(
        vision_config=vision,
        text_config=TEXT | experts,
        image_token_index=63,
        projector_patch_to_query_dict={49: 5, 9: 11},
        **fields,
    )
    return transformers.AriaForConditionalGeneration(config), transformers.AriaImageProcessorPil()


_T5 = {
    "model_type": "t5",
    "d_model": 40,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 1,
    "num_heads": 2,
    "vocab_size": 64,
    "decoder_start_token_id": 0,
}

VLMS = {
    "aria": aria,
    "aria/second layer": partial(aria, vision_feature_layer=2),
    "blip-2": blip_2,
    "blip-2/t5": partial(
        blip_2,
        _T5,
        7,
        hidden_act="relu",
        layer_norm_eps=1e-3,
        cross_attention_frequency=3,
        use_qformer_text_input=True,
    ),
}
