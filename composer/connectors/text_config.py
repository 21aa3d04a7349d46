"""What a VLM's config.json says of its language model. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError, Problem

DEFAULT_WIDTHS = {
    "aria_text": 4096,
    "cohere": 8192,
    "cohere2": 8192,
    "cosmos3_edge_text": 2048,
    "deepseek_v3": 7168,
    "ernie4_5_vl_moe_text": 2560,
    "gemma": 3072,
    "gemma2": 2304,
    "gemma3_text": 2304,
    "hunyuan_vl_text": 4096,
    "hyperclovax": 4096,
    "kimi_k2": 7168,
    "lfm2": 2560,
    "lfm3": 2048,
    "llama": 4096,
    "minimax_m3_vl_text": 6144,
    "muse_glimmer_text": 6656,
    "muse_spark_text": 8192,
    "mistral": 4096,
    "mistral_large4_text": 6144,
    "mllama_text_model": 4096,
    "opt": 768,
    "paddleocr_vl_text": 1024,
    "qwen2": 4096,
    "qwen3": 4096,
    "t5": 512,
    "t5gemma2_text": 2304,
}
"""model_type of a language model -> the default of its hidden_size in transformers."""


def text_field(vlm: Mapping[str, Any], name: str) -> Any:
    """Return what a VLM's config.json says of its language model; None if it does not say."""
    text = vlm.get("text_config")
    return text.get(name) if isinstance(text, Mapping) else None


def text_width(vlm: Mapping[str, Any], model_type: str = "llama") -> int:
    """Return the width of the language model that a VLM's config.json names.

    A config.json leaves out what is the default of its language model.

    Args:
        vlm: The config.json.
        model_type: That of the language model where the config.json does not say it.

    Raises:
        ConfigError: If it does not say.
    """
    # T5 calls it d_model.
    width = text_field(vlm, "hidden_size") or text_field(vlm, "d_model")
    width = width or DEFAULT_WIDTHS.get(str(text_field(vlm, "model_type") or model_type))
    if not isinstance(width, int):
        raise ConfigError(
            Problem("VC104", "the width of the language model is missing", "text_config.hidden_size")
        )
    return width
