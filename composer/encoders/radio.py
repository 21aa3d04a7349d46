"""RADIO (``RadioModel``). Positions are cut out of one large table, so it takes any size. Pixels are values
from 0 to 1, and the encoder normalises them itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..schemas.encoders.radio import RadioEncoderConfig
from ..schemas.processor_class import square
from .aliases import BlockInputs, FromTransformers
from .dense import DenseFamily
from .reading import Reading
from .shapes import Shapes, gated_mlp, layer_norm, linear, linear_patches, mlp

if TYPE_CHECKING:
    from torch import Tensor

_CONDITIONER = "radio_model.input_conditioner"
_MODEL = "radio_model.model"


class Radio(DenseFamily[RadioEncoderConfig]):
    """The family of radio. Tensors have the names of published checkpoints, which transformers renames."""

    model_type = "radio"
    model_class = "RadioModel"
    config_class = "RadioConfig"
    read_by: ClassVar = {"nemotron_h_omni": Reading(strategy="default")}
    blocks = "encoder.layer"
    post_norm = ""
    buffers = frozenset({"norm_mean", "norm_std"})
    # Published models have no layer scale, and models inside a VLM have no conditioner.
    optional = ("layer_scale", "input_conditioner")

    def any_size(self, encoder: RadioEncoderConfig) -> bool:
        return True

    def block_name(self, index: int) -> str:
        return f"{_MODEL}.blocks.{index}"

    def stem_shapes(self, encoder: RadioEncoderConfig) -> Shapes:
        width, channels = encoder.hidden_size, encoder.num_channels
        side = encoder.max_img_size // encoder.patch_size
        return {
            **{f"{_CONDITIONER}.{name}": (channels, 1, 1) for name in sorted(self.buffers)},
            f"{_MODEL}.patch_generator.cls_token.token": (encoder.num_prefix_tokens, width),
            f"{_MODEL}.patch_generator.pos_embed": (1, side**2, width),
            **linear_patches(f"{_MODEL}.patch_generator.embedder", encoder, bias=False),
        }

    def block_shapes(self, encoder: RadioEncoderConfig) -> Shapes:
        width = encoder.hidden_size
        layers = gated_mlp if encoder.use_swiglu_ffn else mlp
        return {
            **layer_norm("norm1", width),
            **linear("attn.qkv", width, 3 * width, bias=encoder.qkv_bias),
            **linear("attn.proj", width, width),
            "layer_scale1.lambda1": (width,),
            **layer_norm("norm2", width),
            **layers("mlp", width, encoder.mlp_width),
            "layer_scale2.lambda1": (width,),
        }

    def image_processor_defaults(self, encoder: RadioEncoderConfig) -> dict[str, object]:
        return {"size": square(encoder.image_size), "do_center_crop": False}

    def image_processor_settings(self, encoder: RadioEncoderConfig) -> dict[str, object]:
        return {"do_rescale": True, "do_normalize": False}

    def unused(self, num_blocks: int) -> tuple[str, ...]:
        return ("summary_idxs", "embeddings.video_patch_projection")

    def stem(self, model: FromTransformers, pixel_values: Tensor) -> tuple[Tensor, BlockInputs]:
        patch = model.config.patch_size
        height, width = (side // patch * patch for side in pixel_values.shape[2:])
        whole = pixel_values[:, :, :height, :width]  # transformers refuses pixels that do not fill a patch
        return model.embeddings(model.input_conditioner(whole)), {}
