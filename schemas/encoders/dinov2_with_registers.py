"""DINOv2 with registers: ``Dinov2WithRegistersConfig`` of transformers."""

from __future__ import annotations

from typing import Literal

from .base import Extra
from .dinov2 import Dinov2Fields


class Dinov2WithRegistersEncoderConfig(Dinov2Fields):
    """DINOv2 ViT with register tokens between the class token and the patches."""

    model_type: Literal["dinov2_with_registers"]
    num_register_tokens: Extra = 4
    """Register tokens behind the class token."""

    @property
    def num_prefix_tokens(self) -> int:
        return 1 + self.num_register_tokens
