"""MetaCLIP 2's vision tower: ``MetaClip2VisionConfig`` of transformers, CLIP's in all but name."""

from __future__ import annotations

from typing import Literal

from .clip import CLIPVisionEncoderConfig


class MetaClip2VisionEncoderConfig(CLIPVisionEncoderConfig):
    """MetaCLIP 2 ViT: the same architecture as CLIP."""

    model_type: Literal["metaclip_2_vision_model"]  # type: ignore[assignment]  # its own name
