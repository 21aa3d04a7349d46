"""Janus's vision tower (``JanusVisionModel``), which understands images; it generates them with another."""

from __future__ import annotations

from typing import ClassVar

from ..schemas.encoders.janus import JanusVisionEncoderConfig
from .reading import Reading
from .shapes import Shapes, layer_norm, linear, linears, mlp
from .siglip import SigLIPTower


class Janus(SigLIPTower[JanusVisionEncoderConfig]):
    """The family of janus_vision_model."""

    model_type = "janus_vision_model"
    model_class = "JanusVisionModel"
    config_class = "JanusVisionConfig"
    read_by: ClassVar = {"janus": Reading()}
    image_processor = "JanusImageProcessor"

    def block_shapes(self, encoder: JanusVisionEncoderConfig) -> Shapes:
        width, projections = encoder.hidden_size, ("q_proj", "k_proj", "v_proj")
        return {
            **layer_norm("layer_norm1", width),
            **linears("self_attn", projections, width, width, bias=encoder.attention_bias),
            **linear("self_attn.projection_layer", width, width),
            **layer_norm("layer_norm2", width),
            **mlp("mlp", width, encoder.mlp_width),
        }
