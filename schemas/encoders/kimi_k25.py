"""Kimi K2.5's vision tower, MoonViT-3d: ``Kimi_K25VisionConfig`` of transformers."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar, Literal

from pydantic_core import InitErrorDetails

from ..base import problem
from .base import Activation, Count, Few, RopedEncoderConfig, SquareSize, check_square


class KimiK25VisionEncoderConfig(RopedEncoderConfig):
    """MoonViT-3d: images and clips of any size, rope over rows and columns, frames averaged in the end."""

    merger: ClassVar[bool] = True
    num_channels: ClassVar[int] = 3  # type: ignore[misc]  # no field of transformers
    # What the model's own code, and with it the published config.json, calls them.
    aliases: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "vt_hidden_size": "hidden_size",
            "vt_intermediate_size": "intermediate_size",
            "vt_num_attention_heads": "num_attention_heads",
            "vt_num_hidden_layers": "num_hidden_layers",
            "init_pos_emb_height": "pos_emb_height",
            "init_pos_emb_width": "pos_emb_width",
            "init_pos_emb_time": "pos_emb_time",
        }
    )

    model_type: Literal["kimi_k25_vision"]
    intermediate_size: Count = 4304
    """Width of the MLP inside a block."""
    patch_size: SquareSize = 14
    pos_emb_height: Count = 64
    """Rows of the position table."""
    pos_emb_width: Count = 64
    """Columns of the position table; as many as rows."""
    pos_emb_time: Few = 4
    """Most frames of a clip."""
    hidden_act: Activation = "gelu_pytorch_tanh"
    """Activation of the MLP."""
    merge_kernel_size: SquareSize = 2
    """Patches along one side of the square that is merged to a token."""

    @property
    def spatial_merge_size(self) -> int:
        """Patches along one side of the square that is merged to a token."""
        return self.merge_kernel_size

    @property
    def merged_width(self) -> int:
        return self.hidden_size * self.merge_kernel_size**2

    def _check(self) -> list[InitErrorDetails]:
        problems = [*super()._check(), *check_square(self.pos_emb_height, self.pos_emb_width)]
        if self.hidden_size % 2:
            message = f"{self.hidden_size} is odd: sines and cosines of the frames take a half each"
            problems.append(problem("VC208", message, "hidden_size", value=self.hidden_size))
        return problems
