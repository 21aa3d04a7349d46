"""SigLIP, and SigLIP 2 at fixed resolution (``SiglipVisionModel``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from ..schemas import DenseEncoderConfig
from ..schemas.encoders.siglip import SiglipVisionEncoderConfig
from .aliases import BlockInputs, FromTransformers
from .clip import clip_block
from .dense import DenseFamily
from .reading import Reading
from .shapes import Shapes, conv_patches, layer_norm, linear, mlp, num_positions

if TYPE_CHECKING:
    from torch import Tensor


S = TypeVar("S", bound=DenseEncoderConfig)


class SigLIPTower(DenseFamily[S], Generic[S]):
    """Towers with SigLIP's stem: patches and learned positions."""

    def stem_shapes(self, encoder: S) -> Shapes:
        return {
            **conv_patches("embeddings.patch_embedding", encoder),
            "embeddings.position_embedding.weight": (num_positions(encoder), encoder.hidden_size),
        }

    def stem(self, model: FromTransformers, pixel_values: Tensor) -> tuple[Tensor, BlockInputs]:
        return model.embeddings(pixel_values), {"attention_mask": None}


class SigLIP(SigLIPTower[SiglipVisionEncoderConfig]):
    """The family of siglip_vision_model."""

    model_type = "siglip_vision_model"
    model_class = "SiglipVisionModel"
    config_class = "SiglipVisionConfig"
    read_by: ClassVar = {
        **dict.fromkeys(("llava_onevision", "aya_vision"), Reading(-1)),
        **dict.fromkeys(
            ("paligemma", "gemma3", "shieldgemma2", "t5gemma2", "cohere2_vision", "siglip", "deepseek_vl"),
            Reading(),
        ),
    }
    head = "head"
    head_field = "vision_use_head"
    image_processor = "SiglipImageProcessor"

    def block_shapes(self, encoder: SiglipVisionEncoderConfig) -> Shapes:
        return clip_block(encoder.hidden_size, encoder.intermediate_size)

    def head_shapes(self, encoder: SiglipVisionEncoderConfig) -> Shapes:
        return pooling_shapes(encoder.hidden_size, encoder.intermediate_size)

    def head_flops(self, encoder: SiglipVisionEncoderConfig, num_tokens: int) -> int:
        return pooling_flops(encoder.hidden_size, encoder.intermediate_size, num_tokens)


def pooling_shapes(width: int, mlp_width: int) -> Shapes:
    """Return the tensors of the attention-pooling head of SigLIP and SigLIP 2."""
    return {
        "probe": (1, 1, width),
        "attention.in_proj_weight": (3 * width, width),
        "attention.in_proj_bias": (3 * width,),
        **linear("attention.out_proj", width, width),
        **layer_norm("layernorm", width),
        **mlp("mlp", width, mlp_width),
    }


def pooling_flops(width: int, mlp_width: int, num_tokens: int) -> int:
    """Count the floating-point operations of that head for one image."""
    # One probe attends to all tokens: keys and values are projected for every token, all else once.
    per_token = 2 * width * width + 2 * width
    once = 2 * width * width + 2 * width * mlp_width
    return 2 * (num_tokens * per_token + once)
