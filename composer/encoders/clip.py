"""CLIP (``CLIPVisionModel``). transformers applies the post-norm to the pooled class token only, so its
last_hidden_state is the last block's output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..schemas.encoders.clip import CLIPVisionEncoderConfig
from .aliases import BlockInputs, FromTransformers
from .dense import DenseFamily
from .reading import Reading
from .shapes import Shapes, conv_patches, layer_norm, linears, mlp, num_positions

if TYPE_CHECKING:
    from torch import Tensor


class CLIP(DenseFamily[CLIPVisionEncoderConfig]):
    """The family of clip_vision_model."""

    model_type = "clip_vision_model"
    model_class = "CLIPVisionModel"
    config_class = "CLIPVisionConfig"
    read_by: ClassVar = {
        **dict.fromkeys(("llava", "llava_next", "llava_next_video"), Reading(-2, "default")),
        "video_llava": Reading(-2, "default", prefix="image_tower"),
        "vipllava": Reading((-2, -5, -8, -11, 6), "default", chooses=False),
        "clip": Reading(),
    }
    norms_last_hidden_state = False

    def stem_shapes(self, encoder: CLIPVisionEncoderConfig) -> Shapes:
        width = encoder.hidden_size
        return {
            "embeddings.class_embedding": (width,),
            **conv_patches("embeddings.patch_embedding", encoder, bias=False),
            "embeddings.position_embedding.weight": (1 + num_positions(encoder), width),
            **layer_norm("pre_layrnorm", width),
        }

    def block_shapes(self, encoder: CLIPVisionEncoderConfig) -> Shapes:
        return clip_block(encoder.hidden_size, encoder.intermediate_size)

    def stem(self, model: FromTransformers, pixel_values: Tensor) -> tuple[Tensor, BlockInputs]:
        return model.pre_layrnorm(model.embeddings(pixel_values)), {"attention_mask": None}


def clip_block(width: int, mlp_width: int) -> Shapes:
    """Return the tensors of the pre-norm block that CLIP, MetaCLIP 2, SigLIP, MLCD and others share."""
    return {
        **linears("self_attn", ("q_proj", "k_proj", "v_proj", "out_proj"), width, width),
        **layer_norm("layer_norm1", width),
        **mlp("mlp", width, mlp_width),
        **layer_norm("layer_norm2", width),
    }
