"""VLMs of the GLM-V line, whose tower's merger makes what the language model reads."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import transformers

from .qwen import ROPE, SMALL, TOKENS, WIDTHS, text

GLM4V = SMALL | WIDTHS | {"image_size": 30}
_EXPERTS = {"n_routed_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16}
_DENSE = text("glm4v_text")
_WHOLE = ROPE | {"partial_rotary_factor": 1.0}
_SPARSE = text("glm4v_moe_text", rope_parameters=_WHOLE, **_EXPERTS)
_KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "glm4v": ("Glm4v", "Glm4v", _DENSE),
    "glm4v_moe": ("Glm4vMoe", "Glm4v", _SPARSE),
    "glm46v": ("Glm46V", "Glm46V", _DENSE),
    "glm_ocr": ("GlmOcr", "Glm46V", text("glm_ocr_text", rope_parameters=_WHOLE)),
    "glmga": ("Glmga", "Glmga", _DENSE),
}
_OTHER = {"attention_bias": True, "spatial_merge_size": 3, "temporal_patch_size": 1, "hidden_act": "gelu"}


def vlm(kind: str, **changed: Any) -> tuple[Any, Any]:
    """A VLM of this line, its tower changed as said."""
    name, processor, language = _KINDS[kind]
    vision = GLM4V | changed
    config = getattr(transformers, f"{name}Config")(
        vision_config=vision,
        text_config=deepcopy(language),
        image_start_token_id=59,
        image_end_token_id=58,
        **TOKENS,
    )
    merge, frames = vision.get("spatial_merge_size", 2), vision.get("temporal_patch_size", 2)
    square = frames * (vision["patch_size"] * merge) ** 2
    processor = getattr(transformers, f"{processor}ImageProcessorPil")(
        size={"shortest_edge": square * 4, "longest_edge": square * 60},
        patch_size=vision["patch_size"],
        merge_size=merge,
        temporal_patch_size=frames,
    )
    return transformers.AutoModelForImageTextToText.from_config(config), processor


VLMS: dict[str, Callable[[], tuple[Any, Any]]] = {kind: partial(vlm, kind) for kind in _KINDS}
VLMS |= {f"{kind}/other": partial(vlm, kind, **_OTHER) for kind in ("glm4v", "glm4v_moe", "glm_ocr")}
