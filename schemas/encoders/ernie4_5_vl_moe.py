"""ERNIE 4.5 VL's vision tower: ``Ernie4_5_VLMoeVisionConfig`` of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic_core import InitErrorDetails

from .base import Activation, Count, Depth, EncoderConfig, Epsilon, Few, RopeType, SquareSize, check_rope


class Ernie45VLVisionEncoderConfig(EncoderConfig):
    """ERNIE 4.5 VL ViT: LayerNorm, rope over rows and columns, images and frames at their own size."""

    rope_type: ClassVar[RopeType] = "rope_2d"
    packed: ClassVar[bool] = True
    heads_key: ClassVar[str] = "num_heads"
    depth_fields: ClassVar[frozenset[str]] = frozenset({"depth"})
    aliases: ClassVar[Mapping[str, str]] = {"num_attention_heads": "num_heads", "num_hidden_layers": "depth"}

    model_type: Literal["ernie4_5_vl_moe_vision"]
    depth: Depth = 32
    """Blocks in the checkpoint, all of them; negative select_layers count from here."""
    hidden_size: Count = 1280
    """Width of a token inside the encoder."""
    intermediate_size: Count = 5120
    """Width of the MLP inside a block."""
    hidden_act: Activation = "quick_gelu"
    """Activation of the MLP."""
    num_heads: Count = 16
    """Attention heads per block; must divide hidden_size."""
    in_channels: Count = 3
    """Colour channels of the input."""
    patch_size: SquareSize = 14
    """Side in pixels of a square patch."""
    spatial_merge_size: Few = 2
    """Side of the squares of patches that the connector merges; patches stand by them."""
    temporal_merge_size: Literal[2] = 2
    """Frames that the connector merges; transformers can do no other number."""
    rms_norm_eps: Epsilon = 1e-6
    """Epsilon of the LayerNorms, in spite of its name."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""
    rope_parameters: dict[str, Any] | None = None
    """The rope's parameters in transformers' form; null for the family's own."""

    if not TYPE_CHECKING:

        @property
        def num_hidden_layers(self) -> int:
            return self.depth

        @property
        def num_attention_heads(self) -> int:
            return self.num_heads

        @property
        def num_channels(self) -> int:
            return self.in_channels

    def _check(self) -> list[InitErrorDetails]:
        return [*super()._check(), *check_rope(self)]
