"""Qwen2.5-Omni (``Qwen2_5OmniVisionEncoder``): Qwen2.5-VL's tower with other names."""

from __future__ import annotations

from typing import ClassVar

from ..schemas.encoders.qwen2_5_omni import Qwen2_5OmniVisionEncoderConfig
from .qwen2_5_vl import WindowedVision
from .reading import Reading
from .shapes import Shapes, linears


class Qwen25Omni(WindowedVision[Qwen2_5OmniVisionEncoderConfig]):
    """The family of qwen2_5_omni_vision_encoder. Queries, keys and values have a projection each."""

    model_type = "qwen2_5_omni_vision_encoder"
    module = "transformers.models.qwen2_5_omni.modeling_qwen2_5_omni"
    model_class = "Qwen2_5OmniVisionEncoder"
    config_class = "Qwen2_5OmniVisionEncoderConfig"
    read_by: ClassVar = {"qwen2_5_omni_thinker": Reading()}

    def attention_shapes(self, encoder: Qwen2_5OmniVisionEncoderConfig) -> Shapes:
        return linears("attn", ("q", "k", "v", "proj"), encoder.width, encoder.width)
