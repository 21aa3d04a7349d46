"""VLMs of the Qwen line, whose tower's merger makes what the language model reads."""

from __future__ import annotations

from collections.abc import Callable
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
QWEN2 = SMALL | {"embed_dim": 32, "hidden_size": 40, "mlp_ratio": 2}
QWEN2_5 = SMALL | WIDTHS | {"window_size": 24, "fullatt_block_indexes": [1]}
QWEN3 = SMALL | WIDTHS | {"num_position_embeddings": 25, "deepstack_visual_indexes": [0, 1]}
QWEN3_5 = SMALL | WIDTHS | {"num_position_embeddings": 25}


def text(model_type: str, **fields: Any) -> dict[str, Any]:
    """The language model of a VLM with a rope over frames, rows and columns."""
    return TEXT | {"model_type": model_type, "rope_parameters": ROPE} | fields


def image_processor(vision: dict[str, Any], bound: int = 80) -> Any:
    """Qwen's image processor for a tower, with at most ``bound`` merged tokens."""
    merge = vision.get("spatial_merge_size", 2)
    square = (vision["patch_size"] * merge) ** 2
    return transformers.Qwen2VLImageProcessorPil(
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
    made = config(vision_config=vision, text_config=language, **TOKENS)
    return model(made), image_processor(vision)


def _generation(name: str) -> tuple[str, str]:
    return f"{name}Config", f"{name}ForConditionalGeneration"


_KINDS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "qwen2_vl": ("Qwen2VL", QWEN2, text("qwen2_vl_text")),
    "qwen2_5_vl": ("Qwen2_5_VL", QWEN2_5, text("qwen2_5_vl_text")),
    "qwen3_vl": ("Qwen3VL", QWEN3, text("qwen3_vl_text")),
    "qwen3_vl_moe": ("Qwen3VLMoe", QWEN3, text("qwen3_vl_moe_text", **EXPERTS)),
    "qwen3_5": ("Qwen3_5", QWEN3_5, text("qwen3_5_text", **LINEAR_ATTENTION)),
    "qwen3_5_moe": ("Qwen3_5Moe", QWEN3_5, text("qwen3_5_moe_text", **EXPERTS, **LINEAR_ATTENTION)),
    "cosmos3_omni": ("Cosmos3Omni", QWEN3, text("qwen3_vl_text")),
}
_OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2_vl/merge3": ("qwen2_vl", {"spatial_merge_size": 3, "hidden_act": "silu", "temporal_patch_size": 1}),
    "qwen2_5_vl/no windows": ("qwen2_5_vl", {"fullatt_block_indexes": [0, 1, 2], "hidden_act": "gelu"}),
    "qwen3_vl/unsorted": ("qwen3_vl", {"deepstack_visual_indexes": [2, 0], "hidden_act": "gelu"}),
    "qwen3_5/unmerged": ("qwen3_5", {"spatial_merge_size": 1, "num_position_embeddings": 9}),
}

VLMS: dict[str, Callable[[], tuple[Any, Any]]] = {
    name: partial(vlm, _generation(kind), vision, language)
    for name, (kind, vision, language) in _KINDS.items()
} | {
    name: partial(vlm, _generation(_KINDS[of][0]), *_KINDS[of][1:], **changed)
    for name, (of, changed) in _OTHERS.items()
}
