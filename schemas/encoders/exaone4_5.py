"""EXAONE 4.5's vision tower: ``Exaone4_5_VisionConfig`` of transformers."""

from __future__ import annotations

from typing import Literal

from pydantic_core import InitErrorDetails

from ..base import problem
from .base import Count
from .qwen2_5_vl import WindowedVisionEncoderConfig


class Exaone45VisionEncoderConfig(WindowedVisionEncoderConfig):
    """EXAONE 4.5 ViT: Qwen2.5-VL's, with fewer heads of keys and values than of queries."""

    model_type: Literal["exaone4_5_vision"]
    num_key_value_heads: Count = 8
    """Heads of keys and values; each serves as many heads of queries."""

    def _check(self) -> list[InitErrorDetails]:
        problems = super()._check()
        if self.num_heads % self.num_key_value_heads:
            message = f"{self.num_key_value_heads} heads of keys do not divide num_heads {self.num_heads}"
            value = self.num_key_value_heads
            problems.append(problem("VC208", message, "num_key_value_heads", value=value))
        return problems
