"""Qwen2.5-Omni's vision tower: ``Qwen2_5OmniVisionEncoderConfig`` of transformers."""

from __future__ import annotations

from typing import Literal

from .qwen2_5_vl import WindowedVisionEncoderConfig


class Qwen2_5OmniVisionEncoderConfig(WindowedVisionEncoderConfig):  # noqa: N801
    """Qwen2.5-Omni ViT: Qwen2.5-VL's, with queries, keys and values projected apart."""

    model_type: Literal["qwen2_5_omni_vision_encoder"]
