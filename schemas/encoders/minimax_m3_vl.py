"""MiniMax-M3-VL's vision tower: ``MiniMaxM3VLVisionConfig`` of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal

from .base import (
    Activation,
    Count,
    DenseEncoderConfig,
    Depth,
    Epsilon,
    Few,
    Probability,
    RopeType,
    SquareSize,
)


class MiniMaxM3VLVisionEncoderConfig(DenseEncoderConfig):
    """MiniMax-M3-VL ViT: clips of any size as patches, rope over frames, rows and columns; no merger."""

    rope_type: ClassVar[RopeType] = "rope_3d"
    packed: ClassVar[bool] = True
    fixed_fields: ClassVar[Mapping[str, object]] = MappingProxyType(
        {
            "position_embedding_type": "rope",
            "rope_mode": "3d",
            "img_token_compression_config": {"spatial_merge_size": 2, "temporal_patch_size": 2},
        }
    )

    model_type: Literal["minimax_m3_vl_vision"]
    hidden_size: Count = 1280
    intermediate_size: Count = 5120
    """Width of the MLP inside a block."""
    num_hidden_layers: Depth = 32
    num_attention_heads: Count = 16
    image_size: SquareSize = 2016
    """Side in pixels of the largest square image; the tower does not use it."""
    patch_size: SquareSize = 14
    temporal_patch_size: SquareSize = 2
    """Frames in a patch."""
    spatial_merge_size: Few = 2
    """Side of the squares of patches that the language model's projector merges; patches stand by them."""
    hidden_act: Activation = "gelu"
    """Activation of the MLP."""
    layer_norm_eps: Epsilon = 1e-5
    """Epsilon of the LayerNorms."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    rope_parameters: dict[str, Any] | None = None
    """The rope's parameters in transformers' form; null for the family's own."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""

    @property
    def has_post_norm(self) -> bool:
        return False
