"""BLIP-2's vision tower: ``Blip2VisionConfig`` of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from .base import Activation, Count, DenseEncoderConfig, Depth, Epsilon, Probability, SquareSize


class BlipFields(DenseEncoderConfig):
    """What BLIP's tower has in common with BLIP-2's."""

    # transformers has no such field: its patch embedding takes three colours.
    num_channels: ClassVar[int] = 3  # type: ignore[misc]  # a field of the base, fixed here

    hidden_act: Activation = "gelu"
    """Activation of the MLP."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    initializer_range: float = 1e-10
    """Standard deviation of random initialisation."""

    if TYPE_CHECKING:

        @property
        def intermediate_size(self) -> int: ...
        @property
        def qkv_bias(self) -> bool: ...

    @property
    def num_prefix_tokens(self) -> int:
        return 1


class Blip2VisionEncoderConfig(BlipFields):
    """BLIP-2 ViT: a class token, learned positions, one projection for query, key and value."""

    model_type: Literal["blip_2_vision_model"]
    hidden_size: Count = 1408
    intermediate_size: Count = 6144
    """Width of the MLP inside a block."""
    num_hidden_layers: Depth = 39
    num_attention_heads: Count = 16
    patch_size: SquareSize = 14
    layer_norm_eps: Epsilon = 1e-6
    """Epsilon of every LayerNorm."""
    qkv_bias: bool = True
    """Whether query, key and value have a bias."""
