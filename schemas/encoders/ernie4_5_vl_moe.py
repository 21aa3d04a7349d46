"""ERNIE 4.5 VL's vision tower: ``Ernie4_5_VLMoeVisionConfig`` of transformers."""

from __future__ import annotations

from typing import ClassVar, Literal

from .base import Activation, Count, Epsilon, Few, RopeType
from .qwen_vl import QwenNamedEncoderConfig


class Ernie45VLVisionEncoderConfig(QwenNamedEncoderConfig):
    """ERNIE 4.5 VL ViT: LayerNorm, rope over rows and columns, images and frames at their own size."""

    rope_type: ClassVar[RopeType] = "rope_2d"

    model_type: Literal["ernie4_5_vl_moe_vision"]
    hidden_size: Count = 1280
    """Width of a token inside the encoder."""
    intermediate_size: Count = 5120
    """Width of the MLP inside a block."""
    hidden_act: Activation = "quick_gelu"
    spatial_merge_size: Few = 2
    """Side of the squares of patches that the connector merges; patches stand by them."""
    temporal_merge_size: Literal[2] = 2
    """Frames that the connector merges; transformers can do no other number."""
    rms_norm_eps: Epsilon = 1e-6
    """Epsilon of the LayerNorms, in spite of its name."""
