"""LFM3-VL's vision tower: ``Lfm3VlVisionConfig`` of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field
from pydantic_core import InitErrorDetails

from ..base import problem
from .base import (
    MAX_BLOCKS,
    Count,
    Depth,
    EncoderConfig,
    Epsilon,
    Few,
    RopeType,
    SquareSize,
    check_key_value_heads,
    check_layer_types,
    check_rope,
)

Kind = Literal["conv", "full_attention"]


class Lfm3VlVisionEncoderConfig(EncoderConfig):
    """LFM3-VL's tower: blocks of gated convolutions between blocks of attention, images of any size."""

    rope_type: ClassVar[RopeType] = "rope_2d"
    packed: ClassVar[bool] = True
    depth_fields: ClassVar[frozenset[str]] = EncoderConfig.depth_fields | {"layer_types"}

    model_type: Literal["lfm3_vl_vision"]
    hidden_size: Count = 1024
    """Width of a token inside the encoder."""
    intermediate_size: Count = 2560
    """Width of the MLP inside a block."""
    in_channels: Count = 3
    """Colour channels of the input."""
    patch_size: SquareSize = 16
    """Side in pixels of a square patch."""
    spatial_merge_size: Few = 2
    """Side of the squares of patches that the connector merges; patches stand by them."""
    temporal_patch_size: SquareSize = 2
    """Frames in a patch."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""
    rope_parameters: dict[str, Any] | None = None
    """The rope's parameters in transformers' form; null for the family's own."""
    num_hidden_layers: Depth = 14
    """Blocks in the checkpoint, all of them; negative select_layers count from here."""
    num_attention_heads: Count = 16
    """Attention heads per block; must divide hidden_size."""
    num_key_value_heads: Count = 8
    """Heads of keys and values; must divide num_attention_heads."""
    layer_types: Annotated[
        tuple[Kind, ...] | None, Field(strict=False, max_length=MAX_BLOCKS, examples=[None])
    ] = None
    """What each block is; null: every second one attends, but for the first."""
    conv_kernel_size: Few = 3
    """Side of a convolution's kernel, in patches; odd."""
    norm_eps: Epsilon = 1e-5
    """Epsilon of the RMSNorms."""

    if not TYPE_CHECKING:

        @property
        def num_channels(self) -> int:
            return self.in_channels

    @property
    def has_post_norm(self) -> bool:
        return False

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What each block is."""
        return self.layer_types or tuple(
            "conv" if block < 2 or block % 2 else "full_attention" for block in range(self.num_hidden_layers)
        )

    def _check(self) -> list[InitErrorDetails]:
        problems = [
            *super()._check(),
            *check_rope(self),
            *check_key_value_heads(self, self.num_key_value_heads),
            *check_layer_types(self, self.layer_types),
        ]
        if self.conv_kernel_size % 2 == 0:
            message = f"{self.conv_kernel_size} is even: the convolution would not keep the patches' grid"
            problems.append(problem("VC208", message, "conv_kernel_size", value=self.conv_kernel_size))
        return problems
