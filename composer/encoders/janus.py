"""Janus's vision tower (``JanusVisionModel``), which understands images; it generates them with another."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..schemas.encoders.janus import JanusVisionEncoderConfig
from .aliases import BlockInputs, FromTransformers
from .dense import DenseFamily
from .reading import Reading
from .shapes import Shapes, conv_patches, layer_norm, linear, linears, num_positions

if TYPE_CHECKING:
    from torch import Tensor


class Janus(DenseFamily[JanusVisionEncoderConfig]):
    """The family of janus_vision_model."""

    model_type = "janus_vision_model"
    model_class = "JanusVisionModel"
    config_class = "JanusVisionConfig"
    read_by: ClassVar = {"janus": Reading()}
    image_processor = "JanusImageProcessor"

    def stem_shapes(self, encoder: JanusVisionEncoderConfig) -> Shapes:
        return {
            **conv_patches("embeddings.patch_embedding", encoder),
            "embeddings.position_embedding.weight": (num_positions(encoder), encoder.hidden_size),
        }

    def block_shapes(self, encoder: JanusVisionEncoderConfig) -> Shapes:
        width, projections = encoder.hidden_size, ("q_proj", "k_proj", "v_proj")
        return {
            **layer_norm("layer_norm1", width),
            **linears("self_attn", projections, width, width, bias=encoder.attention_bias),
            **linear("self_attn.projection_layer", width, width),
            **layer_norm("layer_norm2", width),
            **linear("mlp.fc1", width, encoder.mlp_width),
            **linear("mlp.fc2", encoder.mlp_width, width),
        }

    def stem(self, model: FromTransformers, pixel_values: Tensor) -> tuple[Tensor, BlockInputs]:
        return model.embeddings(pixel_values), {"attention_mask": None}
