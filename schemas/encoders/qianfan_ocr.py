"""Qianfan-OCR's vision tower: ``QianfanOCRVisionConfig`` of transformers, InternVL's with other defaults."""

from __future__ import annotations

from typing import Literal

from .base import Probability
from .internvl import InternVLVisionEncoderConfig


class QianfanOCRVisionEncoderConfig(InternVLVisionEncoderConfig):
    """Qianfan-OCR ViT: the same architecture as InternVL's."""

    model_type: Literal["qianfan_ocr_vision"]  # type: ignore[assignment]  # its own name
    attention_bias: bool = True
    """Whether query, key and value projections have a bias."""
    drop_path_rate: Probability = 0.1
    """Stochastic depth, in training only."""
