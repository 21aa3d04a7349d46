"""Ovis2 (``Ovis2VisionModel``): AIMv2's blocks. Its own output joins squares of tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from ..images.resize import ResizeRule
from ..schemas.encoders.ovis2 import Ovis2VisionEncoderConfig
from .aliases import BlockInputs, FromTransformers
from .dense import DenseFamily
from .facts import VisionEncoderInfo
from .reading import Reading
from .shapes import Shapes, conv_patches, gated_mlp, linears, num_positions

if TYPE_CHECKING:
    from torch import Tensor


class Ovis2(DenseFamily[Ovis2VisionEncoderConfig]):
    """The family of ovis2_vision. What follows the tokens in transformers' class is the connector's."""

    model_type = "ovis2_vision"
    module = "transformers.models.ovis2.modeling_ovis2"
    model_class = "Ovis2VisionModel"
    config_class = "Ovis2VisionConfig"
    read_by: ClassVar = {"ovis2": Reading()}
    blocks = "transformer.encoder.layers"
    post_norm = "transformer.rms_norm"
    image_processor = "Ovis2ImageProcessor"
    tiny: ClassVar = {"vocab_size": 16, "hidden_stride": 2}

    def info(self, encoder: Ovis2VisionEncoderConfig, resize: ResizeRule | None = None) -> VisionEncoderInfo:
        return replace(
            super().info(encoder, resize),
            merge_size=encoder.hidden_stride,
            out_hidden_size=encoder.merged_width,
        )

    def stem_shapes(self, encoder: Ovis2VisionEncoderConfig) -> Shapes:
        width, stem = encoder.hidden_size, "transformer.embeddings"
        return {
            **conv_patches(f"{stem}.patch_embedding", encoder),
            f"{stem}.rms_norm.weight": (width,),
            f"{stem}.position_embedding.weight": (num_positions(encoder), width),
        }

    def block_shapes(self, encoder: Ovis2VisionEncoderConfig) -> Shapes:
        width, projections = encoder.hidden_size, ("q_proj", "k_proj", "v_proj", "out_proj")
        return {
            "rms_norm1.weight": (width,),
            "rms_norm2.weight": (width,),
            **linears("attention", projections, width, width, bias=encoder.qkv_bias),
            **gated_mlp("ffn", width, encoder.intermediate_size, bias=encoder.mlp_bias),
        }

    def norm_shapes(self, encoder: Ovis2VisionEncoderConfig) -> Shapes:
        return {"weight": (encoder.hidden_size,)}

    def unused(self, num_blocks: int) -> tuple[str, ...]:
        return ("head_linear", "head_norm")

    def stem(self, model: FromTransformers, pixel_values: Tensor) -> tuple[Tensor, BlockInputs]:
        return model.transformer.embeddings(pixel_values), {"attention_mask": None}

    def merged(self, model: FromTransformers, hidden_states: Tensor, layout: None) -> Tensor:
        images, tokens, width = hidden_states.shape
        stride, side = model.config.hidden_stride, round(tokens**0.5)
        squares = hidden_states.view(images, side // stride, stride, side // stride, stride, width)
        return squares.transpose(2, 3).reshape(images, -1, stride * stride * width)
