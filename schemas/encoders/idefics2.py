"""Idefics2's vision tower: ``Idefics2VisionConfig`` of transformers."""

from __future__ import annotations

from typing import Literal

from .idefics import IdeficsVisionEncoderConfig


class Idefics2VisionEncoderConfig(IdeficsVisionEncoderConfig):
    """Idefics2 ViT: images at their own aspect ratio."""

    model_type: Literal["idefics2_vision"]
