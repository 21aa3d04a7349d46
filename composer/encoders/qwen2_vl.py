"""Qwen2-VL (``Qwen2VisionTransformerPretrainedModel``): a rope over rows and columns, and a merger."""

from __future__ import annotations

from typing import ClassVar

from ..schemas.encoders.qwen2_vl import Qwen2VLVisionEncoderConfig
from ..schemas.encoders.qwen_vl import QwenVisionEncoderConfig
from .layout import RopeLayout
from .qwen_vl import QwenVL
from .reading import Reading
from .shapes import Shapes, layer_norm, linear, mlp


class Qwen2VL(QwenVL[Qwen2VLVisionEncoderConfig, RopeLayout]):
    """The family of qwen2_vl_vision."""

    model_type = "qwen2_vl_vision"
    module = "transformers.models.qwen2_vl.modeling_qwen2_vl"
    model_class = "Qwen2VisionTransformerPretrainedModel"
    config_class = "Qwen2VLVisionConfig"
    other_names = ("qwen2_vl",)
    read_by: ClassVar = {"qwen2_vl": Reading()}
    tiny: ClassVar = {"embed_dim": 32, "hidden_size": 24}

    def block_shapes(self, encoder: Qwen2VLVisionEncoderConfig) -> Shapes:
        width = encoder.width
        return {
            **layer_norm("norm1", width),
            **layer_norm("norm2", width),
            **self.attention_shapes(encoder),
            **mlp("mlp", width, encoder.mlp_width),
        }

    def head_shapes(self, encoder: Qwen2VLVisionEncoderConfig) -> Shapes:
        return {**layer_norm("ln_q", encoder.width), **merger_mlp(encoder)}


def merger_mlp(encoder: QwenVisionEncoderConfig) -> Shapes:
    """Return the tensors of the MLP in the merger of Qwen2-VL and Qwen2.5-VL."""
    joined = encoder.width * encoder.spatial_merge_size**2
    return {**linear("mlp.0", joined, joined), **linear("mlp.2", joined, encoder.merged_width)}
