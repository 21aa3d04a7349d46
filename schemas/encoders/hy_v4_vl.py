"""Hy4's vision tower: ``HYV4VLVisionConfig`` of transformers, HunyuanOCR's with other defaults."""

from __future__ import annotations

from typing import Literal

from .base import Count, Depth
from .hunyuan_vl import HunYuanVisionEncoderConfig


class HYV4VLVisionEncoderConfig(HunYuanVisionEncoderConfig):
    """Hy4 ViT: HunyuanOCR's, its position table resampled at another scale."""

    model_type: Literal["hy_v4_vl_vision"]
    hidden_size: Count = 1536
    """Width of a token inside the encoder."""
    intermediate_size: Count = 6144
    """Width of the MLP inside a block."""
    num_hidden_layers: Depth = 40
    """Blocks in the checkpoint, all of them; negative select_layers count from here."""
    out_hidden_size: Count = 6144
    """Not used: the connector has its own width."""
