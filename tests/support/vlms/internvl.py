"""VLMs that join squares of tokens."""

from __future__ import annotations

from typing import Any

import transformers

from .parts import SIDE, SIGLIP, TEXT

_SIZE = {"size": SIDE}


def internvl(**fields: Any) -> tuple[Any, Any]:
    vision = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
    vision |= {"image_size": 32, "patch_size": 8, "use_mean_pooling": False}
    config = transformers.InternVLConfig(
        vision_config=vision, text_config=TEXT, image_token_id=63, image_seq_length=4, **fields
    )
    processor = transformers.GotOcr2ImageProcessorPil(**_SIZE, max_patches=6)
    return transformers.InternVLForConditionalGeneration(config), processor


def aya_vision() -> tuple[Any, Any]:
    text = TEXT | {"model_type": "cohere2"}
    config = transformers.AyaVisionConfig(
        vision_config=SIGLIP, text_config=text, image_token_index=63, alignment_intermediate_size=48
    )
    return (
        transformers.AyaVisionForConditionalGeneration(config),
        transformers.GotOcr2ImageProcessorPil(**_SIZE, min_patches=2, max_patches=5),
    )


def got_ocr2() -> tuple[Any, Any]:
    vision = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "mlp_dim": 48}
    vision |= {"image_size": 32, "patch_size": 4, "output_channels": 24, "window_size": 3}
    config = transformers.GotOcr2Config(
        vision_config=vision | {"global_attn_indexes": [1]},
        text_config=TEXT | {"model_type": "qwen2"},
        image_token_index=63,
    )
    model = transformers.GotOcr2ForConditionalGeneration(config)
    return model, transformers.GotOcr2ImageProcessorPil(**_SIZE)


def idefics3() -> tuple[Any, Any]:
    vision = {key: value for key, value in SIGLIP.items() if key != "model_type"}
    config = transformers.Idefics3Config(
        vision_config=vision, text_config=TEXT, image_token_id=63, scale_factor=2
    )
    processor = transformers.Idefics3ImageProcessorPil(
        size={"longest_edge": 96}, max_image_size={"longest_edge": 32}
    )
    return transformers.Idefics3ForConditionalGeneration(config), processor


def smolvlm() -> tuple[Any, Any]:
    vision = {key: value for key, value in SIGLIP.items() if key != "model_type"}
    config = transformers.SmolVLMConfig(
        vision_config=vision, text_config=TEXT, image_token_id=63, scale_factor=4
    )
    processor = transformers.SmolVLMImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 32}
    )
    return transformers.SmolVLMForConditionalGeneration(config), processor


VLMS = {
    "internvl": internvl,
    "internvl/hidden state": lambda: internvl(vision_feature_layer=-2, projector_hidden_act="relu"),
    "aya_vision": aya_vision,
    "got_ocr2": got_ocr2,
    "idefics3": idefics3,
    "smolvlm": smolvlm,
}
