"""DINOv2 with registers (``Dinov2WithRegistersModel``), which come between class token and patches."""

from __future__ import annotations

from ..schemas.encoders.dinov2_with_registers import Dinov2WithRegistersEncoderConfig
from .dinov2 import DINOv2
from .shapes import Shapes


class DINOv2WithRegisters(DINOv2):
    """The family of dinov2_with_registers."""

    model_type = "dinov2_with_registers"
    model_class = "Dinov2WithRegistersModel"
    config_class = "Dinov2WithRegistersConfig"

    # Narrower than DINOv2's: this family is given no other blocks than its own.
    def stem_shapes(self, encoder: Dinov2WithRegistersEncoderConfig) -> Shapes:  # type: ignore[override]
        registers = {"embeddings.register_tokens": (1, encoder.num_register_tokens, encoder.hidden_size)}
        return super().stem_shapes(encoder) | registers
