"""Ovis2 (``Ovis2VisionModel``): AIMv2's blocks. Its head, which makes visual words, is the connector's."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..schemas.encoders.ovis2 import Ovis2VisionEncoderConfig
from .aliases import BlockInputs, FromTransformers
from .dense import DenseFamily
from .reading import Reading
from .shapes import Shapes, conv_patches, gated_mlp, linears, num_positions

if TYPE_CHECKING:
    from torch import Tensor


class Ovis2(DenseFamily[Ovis2VisionEncoderConfig]):
    """The family of ovis2_vision."""

    model_type = "ovis2_vision"
    module = "transformers.models.ovis2.modeling_ovis2"
    model_class = "Ovis2VisionModel"
    config_class = "Ovis2VisionConfig"
    read_by: ClassVar = {"ovis2": Reading()}
    blocks = "transformer.encoder.layers"
    post_norm = "transformer.rms_norm"
    image_processor = "Ovis2ImageProcessor"

    def stem_shapes(self, encoder: Ovis2VisionEncoderConfig) -> Shapes:
        width, embeddings = encoder.hidden_size, "transformer.embeddings"
        return {
            **conv_patches(f"{embeddings}.patch_embedding", encoder),
            f"{embeddings}.position_embedding.weight": (num_positions(encoder), width),
            f"{embeddings}.rms_norm.weight": (width,),
        }

    def block_shapes(self, encoder: Ovis2VisionEncoderConfig) -> Shapes:
        width = encoder.hidden_size
        projections = ("q_proj", "k_proj", "v_proj", "out_proj")
        return {
            "rms_norm1.weight": (width,),
            "rms_norm2.weight": (width,),
            **linears("attention", projections, width, width, bias=encoder.qkv_bias),
            **gated_mlp("ffn", width, encoder.intermediate_size, bias=encoder.mlp_bias),
        }

    def norm_shapes(self, encoder: Ovis2VisionEncoderConfig) -> Shapes:
        return {"weight": (encoder.hidden_size,)}

    def head_modules(self) -> tuple[str, ...]:
        return ("head_linear", "head_norm")

    def stem(self, model: FromTransformers, pixel_values: Tensor) -> tuple[Tensor, BlockInputs]:
        return model.transformer.embeddings(pixel_values), {}
