"""Qwen2.5-VL's vision tower: ``Qwen2_5_VLVisionConfig`` of transformers."""

from __future__ import annotations

from typing import Literal

from pydantic_core import InitErrorDetails

from ..base import problem
from .base import Blocks, Count, Side, check_blocks
from .qwen_vl import QwenVisionEncoderConfig


class WindowedVisionEncoderConfig(QwenVisionEncoderConfig):
    """Fields of the towers with RMSNorm, a gated MLP, and attention inside windows except in a few blocks."""

    hidden_size: Count = 3584
    """Width of a token inside the encoder."""
    intermediate_size: Count = 3420
    """Width of the MLP inside a block."""
    window_size: Side = 112
    """Side in pixels of an attention window."""
    out_hidden_size: Count = 3584
    """Width of a token behind the merger, that of the language model."""
    fullatt_block_indexes: Blocks = (
        7,
        15,
        23,
        31,
    )
    """Blocks that attend to the whole frame, counted from 0."""

    @property
    def merged_width(self) -> int:
        return self.out_hidden_size

    @property
    def mlp_width(self) -> int:
        return self.intermediate_size

    @property
    def merged_window_size(self) -> int:
        """Merged tokens along one side of an attention window."""
        return self.window_size // self.spatial_merge_size // self.patch_size

    def _check(self) -> list[InitErrorDetails]:
        problems = [*super()._check(), *check_blocks(self, "fullatt_block_indexes")]
        if self.merged_window_size < 1:
            message = (
                f"{self.window_size} pixels hold no merged token of "
                f"{self.spatial_merge_size * self.patch_size} pixels"
            )
            problems.append(problem("VC208", message, "window_size", value=self.window_size))
        return problems


class Qwen2_5_VLVisionEncoderConfig(WindowedVisionEncoderConfig):  # noqa: N801
    """Qwen2.5-VL ViT: RMSNorm, a gated MLP, attention inside windows except in a few blocks."""

    model_type: Literal["qwen2_5_vl_vision"]
    tokens_per_second: Count = 4
    """How a language model spaces the frames of a video; the tower does not use it."""
