"""DINOv2 (``Dinov2Model``). Positions are interpolated to the image, so it takes any size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..schemas.encoders.dinov2 import Dinov2Fields
from .aliases import BlockInputs, FromTransformers
from .base import IMAGENET_MEAN_STD
from .dense import DenseFamily
from .shapes import Shapes, conv_patches, layer_norm, linear, num_positions
from .vit import vit_attention

if TYPE_CHECKING:
    from torch import Tensor


class DINOv2(DenseFamily[Dinov2Fields]):
    """The family of dinov2."""

    model_type = "dinov2"
    model_class = "Dinov2Model"
    config_class = "Dinov2Config"
    blocks = "encoder.layer"
    post_norm = "layernorm"
    image_processor = "BitImageProcessor"

    def any_size(self, encoder: Dinov2Fields) -> bool:
        return True

    def stem_shapes(self, encoder: Dinov2Fields) -> Shapes:
        width = encoder.hidden_size
        return {
            "embeddings.cls_token": (1, 1, width),
            "embeddings.position_embeddings": (1, 1 + num_positions(encoder), width),
            **conv_patches("embeddings.patch_embeddings.projection", encoder),
        }

    def block_shapes(self, encoder: Dinov2Fields) -> Shapes:
        width = encoder.hidden_size
        mlp_width = width * encoder.mlp_ratio
        if encoder.use_swiglu_ffn:
            gated_width = (mlp_width * 2 // 3 + 7) // 8 * 8
            mlp = linear("mlp.weights_in", width, 2 * gated_width) | linear(
                "mlp.weights_out", gated_width, width
            )
        else:
            mlp = linear("mlp.fc1", width, mlp_width) | linear("mlp.fc2", mlp_width, width)
        return {
            **layer_norm("norm1", width),
            **vit_attention(width, bias=encoder.qkv_bias),
            "layer_scale1.lambda1": (width,),
            **layer_norm("norm2", width),
            **mlp,
            "layer_scale2.lambda1": (width,),
        }

    def image_processor_defaults(self, encoder: Dinov2Fields) -> dict[str, object]:
        return super().image_processor_defaults(encoder) | IMAGENET_MEAN_STD

    def unused(self, num_blocks: int) -> tuple[str, ...]:
        return ("embeddings.mask_token",)

    def stem(self, model: FromTransformers, pixel_values: Tensor) -> tuple[Tensor, BlockInputs]:
        return model.embeddings(pixel_values), {}
