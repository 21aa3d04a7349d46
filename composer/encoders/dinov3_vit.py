"""DINOv3 ViT (``DINOv3ViTModel``). It has an axial rope on the patches, so it takes any size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..schemas.encoders.dinov3_vit import DINOv3ViTEncoderConfig
from .aliases import BlockInputs, FromTransformers
from .dense import DenseFamily
from .shapes import Shapes, conv_patches, layer_norm, linear, linears

if TYPE_CHECKING:
    from torch import Tensor


class DINOv3(DenseFamily[DINOv3ViTEncoderConfig]):
    """The family of dinov3_vit."""

    model_type = "dinov3_vit"
    model_class = "DINOv3ViTModel"
    config_class = "DINOv3ViTConfig"
    blocks = "model.layer"
    post_norm = "norm"
    image_processor = "DINOv3ViTImageProcessor"

    def any_size(self, encoder: DINOv3ViTEncoderConfig) -> bool:
        return True

    def block_name(self, index: int) -> str:
        # Published checkpoints have the blocks at the top; transformers moves them below `model` on loading.
        return f"layer.{index}"

    def stem_shapes(self, encoder: DINOv3ViTEncoderConfig) -> Shapes:
        width = encoder.hidden_size
        return {
            "embeddings.cls_token": (1, 1, width),
            "embeddings.register_tokens": (1, encoder.num_register_tokens, width),
            **conv_patches("embeddings.patch_embeddings", encoder),
        }

    def block_shapes(self, encoder: DINOv3ViTEncoderConfig) -> Shapes:
        width, mlp_width = encoder.hidden_size, encoder.intermediate_size
        biases = {
            "q_proj": encoder.query_bias,
            "k_proj": encoder.key_bias,
            "v_proj": encoder.value_bias,
            "o_proj": encoder.proj_bias,
        }
        attention: Shapes = {}
        for projection, bias in biases.items():
            attention |= linear(f"attention.{projection}", width, width, bias=bias)
        into = ("gate_proj", "up_proj") if encoder.use_gated_mlp else ("up_proj",)
        return {
            **layer_norm("norm1", width),
            **attention,
            "layer_scale1.lambda1": (width,),
            **layer_norm("norm2", width),
            **linears("mlp", into, width, mlp_width, bias=encoder.mlp_bias),
            **linear("mlp.down_proj", mlp_width, width, bias=encoder.mlp_bias),
            "layer_scale2.lambda1": (width,),
        }

    def unused(self, num_blocks: int) -> tuple[str, ...]:
        return ("embeddings.mask_token",)

    def stem(self, model: FromTransformers, pixel_values: Tensor) -> tuple[Tensor, BlockInputs]:
        return model.embeddings(pixel_values), {"position_embeddings": model.rope_embeddings(pixel_values)}
