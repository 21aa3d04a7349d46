"""InternVL's tower, InternViT (``InternVLVisionModel``). It has no post-norm if it pools by the mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..schemas.encoders.internvl import InternVLVisionEncoderConfig
from ..schemas.processor_class import square
from .aliases import BlockInputs, FromTransformers
from .base import IMAGENET_MEAN_STD
from .dense import DenseFamily
from .reading import Reading
from .shapes import Shapes, conv_patches, layer_norm, linear, linears, mlp, num_positions

if TYPE_CHECKING:
    from torch import Tensor


class InternVL(DenseFamily[InternVLVisionEncoderConfig]):
    """The family of internvl_vision."""

    model_type = "internvl_vision"
    model_class = "InternVLVisionModel"
    config_class = "InternVLVisionConfig"
    read_by: ClassVar = {"internvl": Reading(-1, "default", last_is_normed=True)}
    blocks = "encoder.layer"
    post_norm = "layernorm"
    image_processor = "GotOcr2ImageProcessor"

    def any_size(self, encoder: InternVLVisionEncoderConfig) -> bool:
        return True

    def stem_shapes(self, encoder: InternVLVisionEncoderConfig) -> Shapes:
        width = encoder.hidden_size
        shapes = {
            "embeddings.cls_token": (1, 1, width),
            **conv_patches("embeddings.patch_embeddings.projection", encoder),
        }
        if encoder.use_absolute_position_embeddings:
            shapes["embeddings.position_embeddings"] = (1, 1 + num_positions(encoder), width)
        return shapes

    def block_shapes(self, encoder: InternVLVisionEncoderConfig) -> Shapes:
        width, mlp_width = encoder.hidden_size, encoder.intermediate_size
        shapes: Shapes = {"lambda_1": (width,), "lambda_2": (width,)}
        projections = ("q_proj", "k_proj", "v_proj")
        shapes |= linears("attention", projections, width, width, bias=encoder.attention_bias)
        if encoder.use_qk_norm:
            shapes |= {"attention.q_norm.weight": (width,), "attention.k_norm.weight": (width,)}
        for norm in ("layernorm_before", "layernorm_after"):
            shapes |= (
                layer_norm(norm, width) if encoder.norm_type == "layer_norm" else {f"{norm}.weight": (width,)}
            )
        return {
            **shapes,
            **linear("attention.projection_layer", width, width),
            **mlp("mlp", width, mlp_width),
        }

    def image_processor_defaults(self, encoder: InternVLVisionEncoderConfig) -> dict[str, object]:
        return {"size": square(encoder.image_size), **IMAGENET_MEAN_STD}

    def unused(self, num_blocks: int) -> tuple[str, ...]:
        return ("embeddings.mask_token",)

    def stem(self, model: FromTransformers, pixel_values: Tensor) -> tuple[Tensor, BlockInputs]:
        return model.embeddings(pixel_values), {}
