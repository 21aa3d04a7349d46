"""VLMs of the Qwen line, whose tower's merger makes what the language model reads."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import transformers

from .parts import TEXT

ROPE = {"rope_type": "default", "mrope_section": [3, 3, 4], "rope_theta": 10_000.0}
TOKENS = {"image_token_id": 63, "video_token_id": 62, "vision_start_token_id": 61, "vision_end_token_id": 60}
EXPERTS = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16}
LINEAR_ATTENTION = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["full_attention"],
}
SMALL = {"depth": 3, "num_heads": 4, "patch_size": 6}
WIDTHS = {"hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 40}
INDEXER = {
    "indexer_n_heads": 2,
    "indexer_kv_heads": 1,
    "indexer_head_dim": 20,
    "indexer_budget": 8,
    "indexer_compress_ratio": 2,
}
QWEN2 = SMALL | {"embed_dim": 32, "hidden_size": 40, "mlp_ratio": 2}
QWEN2_5 = SMALL | WIDTHS | {"window_size": 24, "fullatt_block_indexes": [1]}
QWEN3 = SMALL | WIDTHS | {"num_position_embeddings": 25, "deepstack_visual_indexes": [0, 1]}
QWEN3_5 = SMALL | WIDTHS | {"num_position_embeddings": 25}


def text(model_type: str, **fields: Any) -> dict[str, Any]:
    """The language model of a VLM with a rope over frames, rows and columns."""
    return TEXT | {"model_type": model_type, "rope_parameters": ROPE} | fields


def image_processor(vision: dict[str, Any], bound: int = 80, name: str = "Qwen2VL") -> Any:
    """Qwen's image processor, or its twin, for a tower, with at most ``bound`` merged tokens."""
    merge = vision.get("spatial_merge_size", 2)
    square = (vision["patch_size"] * merge) ** 2
    return getattr(transformers, f"{name}ImageProcessorPil")(
        size={"shortest_edge": square * 4, "longest_edge": square * bound},
        patch_size=vision["patch_size"],
        merge_size=merge,
        temporal_patch_size=vision.get("temporal_patch_size", 2),
    )


def vlm(
    names: tuple[str, str], vision: dict[str, Any], language: dict[str, Any], **changed: Any
) -> tuple[Any, Any]:
    """A VLM of two classes of transformers (its config's, its own), its tower changed as said."""
    vision = vision | changed
    config, model = (getattr(transformers, name) for name in names)
    made = config(vision_config=vision, text_config=deepcopy(language), **TOKENS)
    return model(made), image_processor(vision, name="CohereCompass" if "Compass" in names[0] else "Qwen2VL")


def _generation(name: str) -> tuple[str, str]:
    return f"{name}Config", f"{name}ForConditionalGeneration"


_KINDS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "qwen2_vl": ("Qwen2VL", QWEN2, text("qwen2_vl_text")),
    "qwen2_5_vl": ("Qwen2_5_VL", QWEN2_5, text("qwen2_5_vl_text")),
    "qwen3_vl": ("Qwen3VL", QWEN3, text("qwen3_vl_text")),
    "qwen3_vl_moe": ("Qwen3VLMoe", QWEN3, text("qwen3_vl_moe_text", **EXPERTS)),
    "qwen3_5": ("Qwen3_5", QWEN3_5, text("qwen3_5_text", **LINEAR_ATTENTION)),
    "qwen3_5_moe": ("Qwen3_5Moe", QWEN3_5, text("qwen3_5_moe_text", **EXPERTS, **LINEAR_ATTENTION)),
    "qwen4_exp": ("Qwen4Exp", QWEN3_5, text("qwen4_exp_text", **EXPERTS, **LINEAR_ATTENTION, **INDEXER)),
    "cosmos3_omni": ("Cosmos3Omni", QWEN3, text("qwen3_vl_text")),
    "cohere_compass": (
        "CohereCompass",
        QWEN3,
        TEXT | {"model_type": "cohere_compass_text", "rope_parameters": {"full_attention": ROPE}},
    ),
}
_OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2_vl/merge3": (
        "qwen2_vl",
        {"spatial_merge_size": 3, "hidden_act": "silu", "temporal_patch_size": 1},
    ),
    "qwen2_5_vl/no windows": ("qwen2_5_vl", {"fullatt_block_indexes": [0, 1, 2], "hidden_act": "gelu"}),
    "qwen3_vl/unsorted": ("qwen3_vl", {"deepstack_visual_indexes": [2, 0], "hidden_act": "gelu"}),
    "qwen3_5/unmerged": ("qwen3_5", {"spatial_merge_size": 1, "num_position_embeddings": 9}),
}

_AUDIO2_5 = {"d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 16}
_AUDIO3 = _AUDIO2_5 | {"downsample_hidden_size": 8}


def thinker(name: str, vision: dict[str, Any], language: dict[str, Any], audio: dict[str, Any]) -> Any:
    """The part of an omni model that sees."""
    config = getattr(transformers, f"{name}ThinkerConfig")(
        vision_config=vision,
        text_config=deepcopy(language),  # transformers writes into its rope
        audio_config=audio | {"output_dim": 40},
        **TOKENS,
    )
    return getattr(transformers, f"{name}ThinkerForConditionalGeneration")(config), image_processor(vision)


def exaone4_5(**changed: Any) -> Any:
    vision = QWEN2_5 | {"num_key_value_heads": 2} | changed
    config = transformers.Exaone4_5_Config(
        vision_config=vision,
        text_config=TEXT | {"model_type": "exaone4"},
        image_token_id=63,
        video_token_id=62,
    )
    return transformers.Exaone4_5_ForConditionalGeneration(config), image_processor(vision)


VLMS: dict[str, Callable[[], tuple[Any, Any]]] = (
    {
        name: partial(vlm, _generation(kind), vision, language)
        for name, (kind, vision, language) in _KINDS.items()
    }
    | {
        name: partial(vlm, _generation(_KINDS[of][0]), *_KINDS[of][1:], **changed)
        for name, (of, changed) in _OTHERS.items()
    }
    | {
        "qwen2_5_omni_thinker": partial(
            thinker, "Qwen2_5Omni", QWEN2_5, text("qwen2_5_omni_text"), _AUDIO2_5
        ),
        "qwen3_omni_moe_thinker": partial(
            thinker, "Qwen3OmniMoe", QWEN3, text("qwen3_omni_moe_text", **EXPERTS), _AUDIO3
        ),
        "exaone4_5": exaone4_5,
        "exaone4_5/one head of keys": partial(exaone4_5, num_key_value_heads=1, fullatt_block_indexes=[]),
    }
)
