"""ERNIE 4.5 VL (``Ernie4_5_VLMoeVisionTransformerPretrainedModel``): Qwen2-VL's blocks without a merger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from ..images.resize import ResizeRule
from ..schemas.encoders.ernie4_5_vl_moe import Ernie45VLVisionEncoderConfig
from .aliases import FromTransformers
from .facts import VisionEncoderInfo
from .layout import RopeLayout, axial_rope, frame_segments
from .patch_rows import PatchRowsFamily
from .reading import Reading
from .shapes import Shapes, layer_norm, linear

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .packed import PackedBatch


class Ernie45VL(PatchRowsFamily[Ernie45VLVisionEncoderConfig, RopeLayout]):
    """The family of ernie4_5_vl_moe_vision. Patches are in Qwen-VL's order; the connector merges them."""

    model_type = "ernie4_5_vl_moe_vision"
    module = "transformers.models.ernie4_5_vl_moe.modeling_ernie4_5_vl_moe"
    model_class = "Ernie4_5_VLMoeVisionTransformerPretrainedModel"
    config_class = "Ernie4_5_VLMoeVisionConfig"
    read_by: ClassVar = {"ernie4_5_vl_moe": Reading()}
    post_norm = "ln"
    image_processor = "Ernie4_5_VLMoeImageProcessor"

    # --- facts ----------------------------------------------------------------------------------------

    def info(
        self, encoder: Ernie45VLVisionEncoderConfig, resize: ResizeRule | None = None
    ) -> VisionEncoderInfo:
        side = encoder.spatial_merge_size
        return replace(super().info(encoder, resize), grid_multiple=side, patch_square=side)

    def image_processor_settings(self, encoder: Ernie45VLVisionEncoderConfig) -> dict[str, object]:
        return {
            "do_resize": True,
            "patch_size": encoder.patch_size,
            "merge_size": encoder.spatial_merge_size,
            "temporal_patch_size": 1,
        }

    def stem_shapes(self, encoder: Ernie45VLVisionEncoderConfig) -> Shapes:
        values = encoder.num_channels * encoder.patch_size**2
        return linear(self.patch_projection, values, encoder.hidden_size, bias=False)

    def block_shapes(self, encoder: Ernie45VLVisionEncoderConfig) -> Shapes:
        width = encoder.hidden_size
        return {
            **layer_norm("norm1", width),
            **layer_norm("norm2", width),
            **linear("attn.qkv", width, 3 * width),
            **linear("attn.proj", width, width),
            **linear("mlp.fc1", width, encoder.intermediate_size),
            **linear("mlp.fc2", encoder.intermediate_size, width),
        }

    # --- running --------------------------------------------------------------------------------------

    def reference_inputs(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"hidden_states": inputs["pixel_values"], "grid_thw": inputs["image_grid_thw"]}

    def layout(
        self, model: FromTransformers, batch: PackedBatch, device: torch.device, dtype: torch.dtype
    ) -> RopeLayout:
        grids, config = batch.grids, model.config
        base = (config.rope_parameters or {}).get("rope_theta", 10000.0)
        head = config.hidden_size // config.num_attention_heads
        cosines, sines = axial_rope(grids, head, base, config.spatial_merge_size)
        rope = cosines.to(device), sines.to(device)
        return RopeLayout(grids, frames=frame_segments(grids, device), rope=rope)
