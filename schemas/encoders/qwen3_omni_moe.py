"""Qwen3-Omni's vision tower: ``Qwen3OmniMoeVisionEncoderConfig`` of transformers."""

from __future__ import annotations

from typing import Literal

from .qwen3_vl import Qwen3VLVisionEncoderConfig


class Qwen3OmniMoeVisionEncoderConfig(Qwen3VLVisionEncoderConfig):
    """Qwen3-Omni ViT: Qwen3-VL's, its mergers under other names."""

    model_type: Literal["qwen3_omni_moe_vision_encoder"]  # type: ignore[assignment]  # its own name
