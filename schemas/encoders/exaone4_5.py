"""EXAONE 4.5's vision tower: ``Exaone4_5_VisionConfig`` of transformers."""

from __future__ import annotations

from typing import Literal

from pydantic_core import InitErrorDetails

from .base import Count, check_key_value_heads
from .qwen2_5_vl import WindowedVisionEncoderConfig


class Exaone45VisionEncoderConfig(WindowedVisionEncoderConfig):
    """EXAONE 4.5 ViT: Qwen2.5-VL's, with fewer heads of keys and values than of queries."""

    model_type: Literal["exaone4_5_vision"]
    num_key_value_heads: Count = 8
    """Heads of keys and values; each serves as many heads of queries."""

    def _check(self) -> list[InitErrorDetails]:
        return [*super()._check(), *check_key_value_heads(self, self.num_key_value_heads)]
