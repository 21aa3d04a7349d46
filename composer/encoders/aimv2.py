"""AIMv2 (``Aimv2VisionModel``): RMSNorm and a gated MLP; the native-resolution variant takes any size."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..schemas.encoders.aimv2 import Aimv2VisionEncoderConfig
from .aliases import BlockInputs, FromTransformers
from .dense import DenseFamily
from .reading import Reading
from .shapes import Shapes, conv_patches, gated_mlp, linear, linears, num_positions

if TYPE_CHECKING:
    from torch import Tensor


class AIMv2(DenseFamily[Aimv2VisionEncoderConfig]):
    """The family of aimv2_vision_model."""

    model_type = "aimv2_vision_model"
    model_class = "Aimv2VisionModel"
    config_class = "Aimv2VisionConfig"
    read_by: ClassVar = {"aimv2": Reading()}
    post_norm = "rms_norm"
    head = "head"
    head_field = "use_head"

    def any_size(self, encoder: Aimv2VisionEncoderConfig) -> bool:
        return bool(encoder.is_native)

    def stem_shapes(self, encoder: Aimv2VisionEncoderConfig) -> Shapes:
        width = encoder.hidden_size
        shapes = {**conv_patches("embeddings.patch_embed", encoder), "embeddings.rms_norm.weight": (width,)}
        if not encoder.is_native:
            shapes["embeddings.position_embedding.weight"] = (num_positions(encoder), width)
        return shapes

    def block_shapes(self, encoder: Aimv2VisionEncoderConfig) -> Shapes:
        width = encoder.hidden_size
        projections = ("q_proj", "k_proj", "v_proj", "out_proj")
        return {
            "rms_norm1.weight": (width,),
            "rms_norm2.weight": (width,),
            **linears("attention", projections, width, width, bias=encoder.qkv_bias),
            **gated_mlp("ffn", width, encoder.intermediate_size, bias=encoder.mlp_bias),
        }

    def norm_shapes(self, encoder: Aimv2VisionEncoderConfig) -> Shapes:
        return {"weight": (encoder.hidden_size,)}

    def head_shapes(self, encoder: Aimv2VisionEncoderConfig) -> Shapes:
        width = encoder.hidden_size
        return {
            "cls_token": (1, 1, width),
            **linear("k_proj", width, width, bias=encoder.qkv_bias),
            **linear("v_proj", width, width, bias=encoder.qkv_bias),
            **linear("output_proj", width, width),
        }

    def head_flops(self, encoder: Aimv2VisionEncoderConfig, num_tokens: int) -> int:
        # One query token, which is not projected, attends to all tokens.
        width = encoder.hidden_size
        return 2 * (num_tokens * (2 * width * width + 2 * width) + width * width)

    def stem(self, model: FromTransformers, pixel_values: Tensor) -> tuple[Tensor, BlockInputs]:
        return model.embeddings(pixel_values), {}
