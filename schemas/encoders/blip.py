"""BLIP's vision tower: ``BlipVisionConfig`` of transformers."""

from __future__ import annotations

from typing import ClassVar, Literal

from .base import Count, Epsilon, SquareSize
from .blip_2 import BlipFields


class BlipVisionEncoderConfig(BlipFields):
    """BLIP ViT: BLIP-2's, whose query, key and value always have a bias."""

    feeds_language_model: ClassVar[bool] = True
    qkv_bias: ClassVar[bool] = True

    model_type: Literal["blip_vision_model"]
    intermediate_size: Count = 3072
    """Width of the MLP inside a block."""
    image_size: SquareSize = 384
    layer_norm_eps: Epsilon = 1e-5
    """Epsilon of every LayerNorm."""
    projection_dim: Count = 512
    """Width of BLIP's joint embedding; the tower does not use it."""
