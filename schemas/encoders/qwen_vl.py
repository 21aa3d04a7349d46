"""What the vision towers of the Qwen-VL line, and GLM-4V's after them, have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field
from pydantic_core import InitErrorDetails

from .base import Activation, Count, Depth, EncoderConfig, Few, RopeType, SquareSize, check_rope


class QwenNamedEncoderConfig(EncoderConfig):
    """Fields of packed encoders with a rope whose config has Qwen-VL's names for them."""

    packed: ClassVar[bool] = True
    heads_key: ClassVar[str] = "num_heads"
    depth_fields: ClassVar[frozenset[str]] = frozenset({"depth"})
    aliases: ClassVar[Mapping[str, str]] = {"num_attention_heads": "num_heads", "num_hidden_layers": "depth"}

    depth: Depth = 32
    """Blocks in the checkpoint, all of them; negative select_layers count from here."""
    hidden_act: Activation = "silu"
    """Activation of the MLP."""
    num_heads: Count = 16
    """Attention heads per block; must divide the width of a token."""
    in_channels: Count = 3
    """Colour channels of the input."""
    patch_size: SquareSize = 14
    """Side in pixels of a square patch."""
    spatial_merge_size: Few = 2
    """Patches along one side of the square that the merger makes one token of."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""
    rope_parameters: Annotated[
        dict[str, Any] | None, Field(examples=[{"rope_type": "default", "rope_theta": 10000.0}])
    ] = None
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


class QwenVisionEncoderConfig(QwenNamedEncoderConfig):
    """Fields of these towers: clips of any size as patches, merged spatial_merge_size² to a token."""

    rope_type: ClassVar[RopeType] = "rope_3d"
    merger: ClassVar[bool] = True
    feeds_language_model: ClassVar[bool] = True

    temporal_patch_size: SquareSize = 2
    """Frames in a patch."""

    @property
    @abstractmethod
    def merged_width(self) -> int:
        """Width of a token behind the merger."""

    @property
    @abstractmethod
    def mlp_width(self) -> int:
        """Width of the MLP inside a block."""

    @property
    def has_post_norm(self) -> bool:
        return False
