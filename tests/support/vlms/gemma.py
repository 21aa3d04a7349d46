"""Google's VLMs around SigLIP."""

from __future__ import annotations

from functools import partial
from typing import Any

import transformers

from .parts import SIDE, SIGLIP, TEXT


def paligemma() -> tuple[Any, Any]:
    config = transformers.PaliGemmaConfig(
        vision_config=SIGLIP | {"vision_use_head": False},
        text_config=TEXT | {"model_type": "gemma"},
        image_token_index=63,
        projection_dim=40,
    )
    return (
        transformers.PaliGemmaForConditionalGeneration(config),
        transformers.SiglipImageProcessorPil(size=SIDE),
    )


def gemma3(
    config_class: type[Any] = transformers.Gemma3Config, mm_tokens_per_image: int = 4
) -> tuple[Any, Any]:
    config = config_class(
        vision_config=SIGLIP | {"vision_use_head": False},
        text_config=TEXT | {"model_type": "gemma3_text"},
        image_token_index=63,
        mm_tokens_per_image=mm_tokens_per_image,
        boi_token_index=60,
        eoi_token_index=61,
    )
    model = transformers.Gemma3ForConditionalGeneration(config)
    # transformers starts the projection from zeros, which would make every output equal.
    model.model.multi_modal_projector.mm_input_projection_weight.data.normal_(std=0.1)
    return model, transformers.Gemma3ImageProcessorPil(size=SIDE)


def t5gemma2() -> tuple[Any, Any]:
    text = {key: value for key, value in TEXT.items() if key != "model_type"}
    encoder = {
        "vision_config": SIGLIP | {"vision_use_head": False, "layer_norm_eps": 1e-3},
        "text_config": text,
        "mm_tokens_per_image": 4,
        "eoi_token_index": 61,
    }
    config = transformers.T5Gemma2Config(encoder=encoder, decoder=text, image_token_index=63)
    model = transformers.T5Gemma2ForConditionalGeneration(config)
    model.model.encoder.multi_modal_projector.mm_input_projection_weight.data.normal_(std=0.1)
    return model, transformers.Gemma3ImageProcessorPil(size=SIDE)


VLMS = {
    "paligemma": paligemma,
    "gemma3": gemma3,
    "t5gemma2": t5gemma2,
    "shieldgemma2": partial(gemma3, transformers.ShieldGemma2Config, mm_tokens_per_image=16),
}
