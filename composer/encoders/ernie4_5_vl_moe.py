"""ERNIE 4.5 VL (``Ernie4_5_VLMoeVisionTransformerPretrainedModel``): Qwen2-VL's blocks without a merger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from ..schemas.encoders.ernie4_5_vl_moe import Ernie45VLVisionEncoderConfig
from .layout import RopeLayout
from .patch_rows import RopeRowsFamily
from .reading import Reading
from .shapes import Shapes, layer_norm, linear, linear_patches, mlp

if TYPE_CHECKING:
    from torch import Tensor


class Ernie45VL(RopeRowsFamily[Ernie45VLVisionEncoderConfig, RopeLayout]):
    """The family of ernie4_5_vl_moe_vision. Patches are in Qwen-VL's order; the connector merges them."""

    model_type = "ernie4_5_vl_moe_vision"
    module = "transformers.models.ernie4_5_vl_moe.modeling_ernie4_5_vl_moe"
    model_class = "Ernie4_5_VLMoeVisionTransformerPretrainedModel"
    config_class = "Ernie4_5_VLMoeVisionConfig"
    read_by: ClassVar = {"ernie4_5_vl_moe": Reading()}
    blocks = "blocks"
    post_norm = "ln"
    patch_projection = "patch_embed.proj"
    depth_field = "depth"
    by_squares = True
    image_processor = "Ernie4_5_VLMoeImageProcessor"

    # --- facts ----------------------------------------------------------------------------------------

    def stem_shapes(self, encoder: Ernie45VLVisionEncoderConfig) -> Shapes:
        return linear_patches(self.patch_projection, encoder, bias=False)

    def block_shapes(self, encoder: Ernie45VLVisionEncoderConfig) -> Shapes:
        width = encoder.hidden_size
        return {
            **layer_norm("norm1", width),
            **layer_norm("norm2", width),
            **linear("attn.qkv", width, 3 * width),
            **linear("attn.proj", width, width),
            **mlp("mlp", width, encoder.intermediate_size),
        }

    # --- running --------------------------------------------------------------------------------------

    def reference_inputs(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"hidden_states": inputs["pixel_values"], "grid_thw": inputs["image_grid_thw"]}
