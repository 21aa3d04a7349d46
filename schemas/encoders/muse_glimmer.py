"""Muse Glimmer's and Muse Spark's vision tower: ``MuseGlimmerVisionConfig`` of transformers."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic_core import InitErrorDetails

from .base import (
    MAX_BLOCKS,
    Activation,
    Count,
    Depth,
    Epsilon,
    Few,
    RopedEncoderConfig,
    Rows,
    SquareSize,
    check_layer_types,
    check_square,
)

Attention = Literal["full_attention", "window_attention"]


class MuseGlimmerVisionEncoderConfig(RopedEncoderConfig):
    """Muse ViT: images of any size, most blocks attend inside windows, a position table and a rope."""

    merger: ClassVar[bool] = True
    num_channels: ClassVar[int] = 3  # type: ignore[misc]  # no field of transformers
    depth_fields: ClassVar[frozenset[str]] = RopedEncoderConfig.depth_fields | {"layer_types"}
    inert_fields: ClassVar[frozenset[str]] = RopedEncoderConfig.inert_fields | {"max_position_embeddings"}

    model_type: Literal["muse_glimmer_vision"]
    hidden_size: Count = 1536
    intermediate_size: Count = 8960
    """Width of the MLP inside a block."""
    num_hidden_layers: Depth = 50
    patch_size: SquareSize = 14
    patch_temporal: Few = 2
    """Frames in a patch."""
    pos_emb_height: Count = 32
    """Rows of the position table, and patches along a side of a window."""
    pos_emb_width: Count = 32
    """Columns of the position table; as many as rows."""
    max_position_embeddings: Rows = 1024
    """Not used: the position table has the size that its sides say."""
    merge_size: Few = 2
    """Patches along one side of the square that is merged to a token."""
    hidden_act: Activation = "gelu"
    """Activation of the MLP."""
    layer_norm_eps: Epsilon = 1e-5
    """Epsilon of the norms in front of the blocks and behind them; that inside is 1e-5."""
    layer_types: Annotated[
        tuple[Attention, ...] | None, Field(strict=False, max_length=MAX_BLOCKS, examples=[None])
    ] = None
    """What each block attends to; null: every fourth and the last to whole frames, the others to windows."""

    @property
    def temporal_patch_size(self) -> int:
        """Frames in a patch."""
        return self.patch_temporal

    @property
    def spatial_merge_size(self) -> int:
        """Patches along one side of the square that is merged to a token."""
        return self.merge_size

    @property
    def merged_width(self) -> int:
        return self.hidden_size * self.merge_size**2

    @property
    def attention(self) -> tuple[Attention, ...]:
        """What each block attends to."""
        last = self.num_hidden_layers - 1
        return self.layer_types or tuple(
            "full_attention" if block % 4 == 3 or block == last else "window_attention"
            for block in range(self.num_hidden_layers)
        )

    def _check(self) -> list[InitErrorDetails]:
        table = check_square(self.pos_emb_height, self.pos_emb_width)
        return [*super()._check(), *table, *check_layer_types(self, self.layer_types)]
