"""HunyuanOCR (``HunYuanVLVisionTransformer``): a position table resampled to each image."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from ..attention.sending import Parcel
from ..schemas.encoders.hunyuan_vl import HunYuanVisionEncoderConfig, HunYuanVLVisionEncoderConfig
from .aliases import BlockInputs, FromTransformers
from .layout import Layout, frame_segments
from .patch_embedding import position_table
from .patch_rows import PatchRowsFamily
from .places import Patches
from .position_taps import PositionTaps
from .reading import Reading
from .shapes import Shapes, conv_patches, layer_norm, linears, mlp

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .packed import PackedBatch

H = TypeVar("H", bound=HunYuanVisionEncoderConfig)


@dataclass(frozen=True, eq=False)
class HunYuanVLLayout(Layout):
    """The layout of images to which a position table is resampled.

    Attributes:
        position_taps: Rows of the table to interpolate between, and their weights, (tokens, taps) each.
    """

    position_taps: tuple[Tensor, Tensor]


class HunYuanVision(PatchRowsFamily[H, HunYuanVLLayout], Generic[H]):
    """The towers of HunyuanOCR and Hy4. Patches are in raster order; the connector merges them."""

    vlm_root = "vit"
    blocks = "layers"
    max_frames = 1
    tiny: ClassVar = {"patch_size": 32, "max_image_size": 160}
    stretch: ClassVar[float] = 0.0
    """What is added to an image's rows and columns for the scale to which the table is resampled."""

    # --- facts ----------------------------------------------------------------------------------------

    def unused(self, num_blocks: int) -> tuple[str, ...]:
        return ("patch_merger",)  # the connector's

    def stem_shapes(self, encoder: H) -> Shapes:
        rows = (encoder.max_image_size // encoder.patch_size) ** 2 + 1
        table: Shapes = {"embeddings.position_embedding.weight": (rows, encoder.hidden_size)}
        return conv_patches(self.patch_projection, encoder) | table

    def block_shapes(self, encoder: H) -> Shapes:
        width = encoder.hidden_size
        return {
            **layer_norm("layer_norm1", width),
            **layer_norm("layer_norm2", width),
            **linears("self_attn", ("q_proj", "k_proj", "v_proj", "o_proj"), width, width),
            **mlp("mlp", width, encoder.intermediate_size),
        }

    # --- running --------------------------------------------------------------------------------------

    def layout(
        self, model: FromTransformers, batch: PackedBatch, device: torch.device, dtype: torch.dtype
    ) -> HunYuanVLLayout:
        grids, parcel = batch.grids, Parcel(device)
        side = isqrt(len(model.embeddings.position_embedding.weight) - 1)
        frames, patches = frame_segments(grids, parcel), Patches(grids, parcel)
        taps = PositionTaps(grids, parcel, side, model.config.interpolate_mode, self.stretch)
        rows, weights = taps.at(patches)
        # Row 0 is for a class token, which there is not.
        return HunYuanVLLayout(grids, frames=frames, position_taps=(rows + 1, weights))

    def stem(self, model: FromTransformers, pixels: Tensor, layout: HunYuanVLLayout) -> Tensor:
        from torch.nn.functional import embedding_bag

        patches = super().stem(model, pixels, layout)
        rows, weights = layout.position_taps
        table = position_table(model.embeddings.position_embedding).float()
        positions = embedding_bag(rows, table, per_sample_weights=weights, mode="sum")
        return (patches + positions.to(patches.dtype)).unsqueeze(0)

    def block_inputs(self, block: int, layout: HunYuanVLLayout) -> BlockInputs:
        return super().block_inputs(block, layout) | {"attention_mask": None}


class HunYuanVL(HunYuanVision[HunYuanVLVisionEncoderConfig]):
    """The family of hunyuan_vl_vision."""

    model_type = "hunyuan_vl_vision"
    module = "transformers.models.hunyuan_vl.modeling_hunyuan_vl"
    model_class = "HunYuanVLVisionTransformer"
    config_class = "HunYuanVLVisionConfig"
    other_names = ("hunyuan_vl",)
    read_by: ClassVar = {"hunyuan_vl": Reading()}
    vlm = "hunyuan_vl"
    image_processor = "HunYuanVLImageProcessor"
