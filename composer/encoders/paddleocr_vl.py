"""PaddleOCR-VL (``PaddleOCRVisionTransformer``): SigLIP's blocks with a rope, images at their own size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from ..schemas.encoders.paddleocr_vl import PaddleOCRVLVisionEncoderConfig
from .aliases import FromTransformers
from .clip import clip_block
from .facts import VisionEncoderInfo
from .layout import TableLayout
from .patch_embedding import weighted_rows
from .patch_rows import RopeRowsFamily
from .reading import Reading
from .shapes import Shapes, conv_patches, num_positions

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .packed import PackedBatch


class PaddleOCRVL(RopeRowsFamily[PaddleOCRVLVisionEncoderConfig, TableLayout]):
    """The family of paddleocr_vl_vision. Patches are in raster order; the connector merges them."""

    model_type = "paddleocr_vl_vision"
    module = "transformers.models.paddleocr_vl.modeling_paddleocr_vl"
    model_class = "PaddleOCRVisionTransformer"
    config_class = "PaddleOCRVisionConfig"
    other_names = ("paddleocr_vl",)
    read_by: ClassVar = {"paddleocr_vl": Reading()}
    post_norm = "post_layernorm"
    image_processor = "PaddleOCRVLImageProcessor"
    tiny: ClassVar = {"patch_size": 32, "image_size": 160}

    # --- facts ----------------------------------------------------------------------------------------

    def stem_shapes(self, encoder: PaddleOCRVLVisionEncoderConfig) -> Shapes:
        table: Shapes = {
            "embeddings.position_embedding.weight": (num_positions(encoder), encoder.hidden_size)
        }
        return conv_patches(self.patch_projection, encoder) | table

    def block_shapes(self, encoder: PaddleOCRVLVisionEncoderConfig) -> Shapes:
        return clip_block(encoder.hidden_size, encoder.intermediate_size)

    # --- running --------------------------------------------------------------------------------------

    def patch_shape(self, info: VisionEncoderInfo) -> tuple[int, ...]:
        return info.num_channels, info.patch_size, info.patch_size

    def reference_inputs(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"pixel_values": inputs["pixel_values"][None], "grid_thw": inputs["image_grid_thw"]}

    def layout(
        self, model: FromTransformers, batch: PackedBatch, device: torch.device, dtype: torch.dtype
    ) -> TableLayout:
        side = model.config.image_size // model.config.patch_size
        return self.table_layout(model, batch.grids, device, side, "bilinear")

    def stem(self, model: FromTransformers, pixels: Tensor, layout: TableLayout) -> Tensor:
        patches = super().stem(model, pixels, layout)
        positions = weighted_rows(model.embeddings.position_embedding, *layout.position_taps)
        return patches + positions.to(patches.dtype)
