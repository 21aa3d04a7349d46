"""BLIP-2's vision tower (``Blip2VisionModel``). BLIP-2 reads last_hidden_state, so the pooled output, the
class token normed twice, is not offered as a head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from ..schemas.encoders.blip_2 import Blip2VisionEncoderConfig, BlipFields
from .aliases import BlockInputs, FromTransformers
from .dense import DenseFamily
from .reading import Reading
from .shapes import Shapes, conv_patches, layer_norm, linear, mlp, num_positions

if TYPE_CHECKING:
    from torch import Tensor


F = TypeVar("F", bound=BlipFields)


class BlipStages(DenseFamily[F], Generic[F]):
    """What BLIP-2's tower has in common with BLIP's."""

    image_processor = "BlipImageProcessor"

    def stem_shapes(self, encoder: F) -> Shapes:
        width = encoder.hidden_size
        return {
            "embeddings.class_embedding": (1, 1, width),
            **conv_patches("embeddings.patch_embedding", encoder),
            "embeddings.position_embedding": (1, 1 + num_positions(encoder), width),
        }

    def block_shapes(self, encoder: F) -> Shapes:
        width, mlp_width = encoder.hidden_size, encoder.intermediate_size
        return {
            **linear("self_attn.qkv", width, 3 * width, bias=encoder.qkv_bias),
            **linear("self_attn.projection", width, width),
            **layer_norm("layer_norm1", width),
            **mlp("mlp", width, mlp_width),
            **layer_norm("layer_norm2", width),
        }

    def stem(self, model: FromTransformers, pixel_values: Tensor) -> tuple[Tensor, BlockInputs]:
        return model.embeddings(pixel_values), {}


class Blip2(BlipStages[Blip2VisionEncoderConfig]):
    """The family of blip_2_vision_model."""

    model_type = "blip_2_vision_model"
    model_class = "Blip2VisionModel"
    config_class = "Blip2VisionConfig"
    read_by: ClassVar = {"blip-2": Reading()}
