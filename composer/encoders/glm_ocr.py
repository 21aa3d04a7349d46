"""GLM-OCR (``GlmOcrVisionModel``): GLM-4V's tower without a position table."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from ..schemas.encoders.glm_ocr import GlmOcrVisionEncoderConfig
from .glm4v import GLMVision
from .layout import RopeLayout
from .reading import Reading
from .shapes import Shapes, gated_mlp, linear

R = TypeVar("R", bound=GlmOcrVisionEncoderConfig)


class GlmOcrVision(GLMVision[R, RopeLayout], Generic[R]):
    """The towers of GLM-OCR and GLM-5."""

    def block_shapes(self, encoder: R) -> Shapes:
        width, bias = encoder.width, encoder.attention_bias
        return {
            "norm1.weight": (width,),
            "norm2.weight": (width,),
            "attn.q_norm.weight": (encoder.head_size,),
            "attn.k_norm.weight": (encoder.head_size,),
            **linear("attn.qkv", width, 3 * width, bias=bias),
            **linear("attn.proj", width, width, bias=bias),
            **gated_mlp("mlp", width, encoder.mlp_width, bias=bias),
        }


class GlmOcr(GlmOcrVision[GlmOcrVisionEncoderConfig]):
    """The family of glm_ocr_vision."""

    model_type = "glm_ocr_vision"
    module = "transformers.models.glm_ocr.modeling_glm_ocr"
    model_class = "GlmOcrVisionModel"
    config_class = "GlmOcrVisionConfig"
    other_names = ("glm_ocr",)
    read_by: ClassVar = {"glm_ocr": Reading()}
