"""GLM-5's vision tower: ``Glm5NextVisionConfig`` of transformers, GLM-OCR's with clamped gates."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from .base import Count
from .glm_ocr import GlmOcrVisionEncoderConfig


class Glm5NextVisionEncoderConfig(GlmOcrVisionEncoderConfig):
    """GLM-5 ViT: GLM-OCR's, with bounds of what its gated MLPs multiply."""

    model_type: Literal["glm5_next_vision"]  # type: ignore[assignment]  # its own name
    projection_intermediate_size: Count = 10240
    """Width of the merger's MLP."""
    swiglu_limit: Annotated[float, Field(gt=0)] = 10.0
    """Greatest value of a gate, and of what it multiplies either way."""

    @property
    def merger_width(self) -> int:
        return self.projection_intermediate_size
