"""Qwen3.5's vision tower: ``Qwen3_5VisionConfig`` of transformers."""

from __future__ import annotations

from typing import Literal

from pydantic_core import InitErrorDetails

from .base import Activation, Count, Depth, Rows, SquareSize, check_table
from .qwen_vl import QwenVisionEncoderConfig


class Qwen3_5VisionEncoderConfig(QwenVisionEncoderConfig):  # noqa: N801
    """Qwen3.5 ViT: LayerNorm, a position table resampled to any size, and rope."""

    model_type: Literal["qwen3_5_vision", "qwen3_5_moe_vision", "qwen4_exp_vision"]
    depth: Depth = 27
    """Blocks in the checkpoint, all of them; negative select_layers count from here."""
    hidden_size: Count = 1152
    """Width of a token inside the encoder."""
    hidden_act: Activation = "gelu_pytorch_tanh"
    """Activation of the MLP."""
    intermediate_size: Count = 4304
    """Width of the MLP inside a block."""
    patch_size: SquareSize = 16
    out_hidden_size: Count = 3584
    """Width of a token behind the merger, that of the language model."""
    num_position_embeddings: Rows = 2304
    """Rows of the position table: a square."""

    @property
    def merged_width(self) -> int:
        return self.out_hidden_size

    @property
    def mlp_width(self) -> int:
        return self.intermediate_size

    def _check(self) -> list[InitErrorDetails]:
        table = check_table(self.num_position_embeddings, "num_position_embeddings")
        return [*super()._check(), *table]
