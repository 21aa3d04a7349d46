"""ViT (``ViTModel``): a class token, learned positions, and a dense layer on the class token for a head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from ..schemas.encoders.vit import ViTEncoderConfig, ViTFields
from .aliases import BlockInputs, FromTransformers
from .dense import DenseFamily
from .shapes import Shapes, conv_patches, layer_norm, linear, linears, num_positions

if TYPE_CHECKING:
    from torch import Tensor

F = TypeVar("F", bound=ViTFields)


class ViTStages(DenseFamily[F], Generic[F]):
    """What ViT has in common with I-JEPA. Shapes have the names of published checkpoints, which transformers
    changes when it loads them.
    """

    blocks = "layers"
    post_norm = "layernorm"
    image_processor = "ViTImageProcessor"

    def block_name(self, index: int) -> str:
        return f"encoder.layer.{index}"

    def stem_shapes(self, encoder: F) -> Shapes:
        width, prefix = encoder.hidden_size, encoder.num_prefix_tokens
        return {
            **({"embeddings.cls_token": (1, 1, width)} if prefix else {}),
            "embeddings.position_embeddings": (1, prefix + num_positions(encoder), width),
            **conv_patches("embeddings.patch_embeddings.projection", encoder),
        }

    def block_shapes(self, encoder: F) -> Shapes:
        width, mlp_width = encoder.hidden_size, encoder.intermediate_size
        return {
            **layer_norm("layernorm_before", width),
            **layer_norm("layernorm_after", width),
            **vit_attention(width, bias=encoder.qkv_bias),
            **linear("intermediate.dense", width, mlp_width),
            **linear("output.dense", mlp_width, width),
        }

    def stem(self, model: FromTransformers, pixel_values: Tensor) -> tuple[Tensor, BlockInputs]:
        return model.embeddings(pixel_values), {"attention_mask": None}


def vit_attention(width: int, *, bias: bool) -> Shapes:
    """Return the tensors of the attention that ViT, I-JEPA and DINOv2 share."""
    return {
        **linears("attention.attention", ("query", "key", "value"), width, width, bias=bias),
        **linear("attention.output.dense", width, width),
    }


class ViT(ViTStages[ViTEncoderConfig]):
    """The family of vit."""

    model_type = "vit"
    model_class = "ViTModel"
    config_class = "ViTConfig"
    head = "pooler"

    def head_shapes(self, encoder: ViTEncoderConfig) -> Shapes:
        return linear("dense", encoder.hidden_size, encoder.pooled_width)

    def head_width(self, encoder: ViTEncoderConfig) -> int:
        return encoder.pooled_width

    def head_flops(self, encoder: ViTEncoderConfig, num_tokens: int) -> int:
        return 2 * encoder.hidden_size * encoder.pooled_width
