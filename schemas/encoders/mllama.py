"""Llama 3.2 Vision's tower: ``MllamaVisionConfig`` of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic_core import InitErrorDetails

from ..base import problem
from .base import (
    MAX_BLOCKS,
    Activation,
    Count,
    Depth,
    EncoderConfig,
    Epsilon,
    Few,
    SquareSize,
    check_patch,
)

_ASPECT_RATIOS = ((1, 1), (1, 2), (1, 3), (1, 4), (2, 1), (2, 2), (3, 1), (4, 1))
_Block = Annotated[int, Field(ge=-MAX_BLOCKS, lt=MAX_BLOCKS)]
_Pair = Annotated[tuple[Few, ...], Field(strict=False, min_length=2, max_length=2)]


class MllamaVisionEncoderConfig(EncoderConfig):
    """Llama 3.2's ViT: images cut into tiles that attend to each other, a class token in each, and a
    second, gated stack of blocks behind the first."""

    merger: ClassVar[bool] = True
    tiled: ClassVar[bool] = True
    heads_key: ClassVar[str] = "attention_heads"
    aliases: ClassVar[Mapping[str, str]] = {"num_attention_heads": "attention_heads"}

    inert_fields: ClassVar[frozenset[str]] = EncoderConfig.inert_fields | {"vision_output_dim"}

    model_type: Literal["mllama_vision_model"]
    hidden_size: Count = 1280
    """Width of a token inside the encoder."""
    hidden_act: Activation = "gelu"
    """Activation of the MLP."""
    num_hidden_layers: Depth = 32
    """Blocks of the first stack in the checkpoint, all of them; negative select_layers count from here."""
    num_global_layers: Depth = 8
    """Blocks of the second stack, which makes the encoder's own output."""
    attention_heads: Count = 16
    """Attention heads per block; must divide hidden_size."""
    num_channels: Count = 3
    """Colour channels of the input."""
    intermediate_size: Count = 5120
    """Width of the MLP inside a block."""
    vision_output_dim: Count = 7680
    """Width that Llama's projector takes; the tower's follows from the layers that it joins."""
    image_size: SquareSize = 448
    """Side in pixels of a tile."""
    patch_size: SquareSize = 14
    """Side in pixels of a square patch."""
    norm_eps: Epsilon = 1e-5
    """Epsilon of the LayerNorms inside a block; that of the others is 1e-5."""
    max_num_tiles: Few = 4
    """Tiles that an image is cut into at most."""
    intermediate_layers_indices: (
        Annotated[tuple[_Block, ...], Field(strict=False, min_length=1, max_length=MAX_BLOCKS)] | None
    ) = None
    """Blocks of the first stack, counted from 0, whose outputs join the encoder's own; null means 3, 7, 15,
    23 and 30."""
    supported_aspect_ratios: (
        Annotated[tuple[_Pair, ...], Field(strict=False, min_length=1, max_length=1_024)] | None
    ) = None
    """Rows and columns of tiles, in the order of aspect_ratio_ids from 1; null means all of up to 4 tiles."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""

    @property
    def num_attention_heads(self) -> int:
        return self.attention_heads

    @property
    def num_prefix_tokens(self) -> int:
        return 1

    @property
    def inner_blocks(self) -> tuple[int, ...]:
        """Blocks whose outputs join the encoder's own; negative ones count from the last."""
        return self.intermediate_layers_indices or (3, 7, 15, 23, 30)

    @property
    def inner_layers(self) -> tuple[int, ...]:
        """Hidden states that join the encoder's own output, counted from 0."""
        depth = self.num_hidden_layers
        return tuple(block + 1 if block >= 0 else depth + block + 1 for block in self.inner_blocks)

    @property
    def aspect_ratios(self) -> tuple[tuple[int, ...], ...]:
        """Rows and columns of tiles, in the order of their ids."""
        return self.supported_aspect_ratios or _ASPECT_RATIOS

    def _check(self) -> list[InitErrorDetails]:
        problems = [*super()._check(), *check_patch(self)]
        if self.aspect_ratios == _ASPECT_RATIOS and self.max_num_tiles != 4:
            message = f"must be 4 for the default supported_aspect_ratios, not {self.max_num_tiles}"
            problems.append(problem("VC208", message, "max_num_tiles", value=self.max_num_tiles))
        elif any(rows * columns > self.max_num_tiles for rows, columns in self.aspect_ratios):
            message = f"an arrangement holds more than max_num_tiles {self.max_num_tiles} tiles"
            problems.append(
                problem("VC208", message, "supported_aspect_ratios", value=self.supported_aspect_ratios)
            )
        return problems
