"""GLM-5 (``Glm5NextVisionModel``): GLM-OCR's tower, with clamped gates."""

from __future__ import annotations

from typing import ClassVar

from ..schemas.encoders.glm5_next import Glm5NextVisionEncoderConfig
from .glm_ocr import GlmOcrVision
from .reading import Reading


class Glm5Next(GlmOcrVision[Glm5NextVisionEncoderConfig]):
    """The family of glm5_next_vision."""

    model_type = "glm5_next_vision"
    module = "transformers.models.glm5_next.modeling_glm5_next"
    model_class = "Glm5NextVisionModel"
    config_class = "Glm5NextVisionConfig"
    other_names = ()
    read_by: ClassVar = {"glm5_next": Reading()}
    tiny: ClassVar = {"out_hidden_size": 24, "projection_intermediate_size": 40, "swiglu_limit": 0.3}
    image_processor = "Glm5NextImageProcessor"

    def image_processor_defaults(self, encoder: Glm5NextVisionEncoderConfig) -> dict[str, object]:
        return {}
