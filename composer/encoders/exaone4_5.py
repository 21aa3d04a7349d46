"""EXAONE 4.5 (``Exaone4_5_VisionModel``): Qwen2.5-VL's tower with grouped-query attention."""

from __future__ import annotations

from typing import ClassVar

from ..schemas.encoders.exaone4_5 import Exaone45VisionEncoderConfig
from .qwen2_5_vl import WindowedVision
from .reading import Reading
from .shapes import Shapes, linear


class Exaone45(WindowedVision[Exaone45VisionEncoderConfig]):
    """The family of exaone4_5_vision."""

    model_type = "exaone4_5_vision"
    module = "transformers.models.exaone4_5.modeling_exaone4_5"
    model_class = "Exaone4_5_VisionModel"
    config_class = "Exaone4_5_VisionConfig"
    read_by: ClassVar = {"exaone4_5": Reading()}
    tiny: ClassVar = {**WindowedVision.tiny, "num_key_value_heads": 2}

    def attention_shapes(self, encoder: Exaone45VisionEncoderConfig) -> Shapes:
        width, keys = encoder.width, encoder.num_key_value_heads * encoder.head_size
        return {**linear("attn.qkv", width, width + 2 * keys), **linear("attn.proj", width, width)}
