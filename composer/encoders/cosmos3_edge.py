"""Cosmos 3 Edge (``Cosmos3EdgeVisionModel``): SigLIP 2's blocks, images and frames at their own size."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..schemas.encoders.cosmos3_edge import Cosmos3EdgeVisionEncoderConfig
from .aliases import FromTransformers
from .clip import clip_block
from .layout import Layout, frame_segments
from .patch_embedding import position_table
from .patch_rows import PatchRowsFamily
from .reading import Reading
from .shapes import Shapes, linear_patches

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .packed import PackedBatch


class Cosmos3Edge(PatchRowsFamily[Cosmos3EdgeVisionEncoderConfig, Layout]):
    """The family of cosmos3_edge_vision. Patches are in Qwen-VL's order; the connector merges them."""

    model_type = "cosmos3_edge_vision"
    module = "transformers.models.cosmos3_edge.modeling_cosmos3_edge"
    model_class = "Cosmos3EdgeVisionModel"
    config_class = "Cosmos3EdgeVisionConfig"
    read_by: ClassVar = {"cosmos3_edge": Reading()}
    vlm = "cosmos3_edge"
    vlm_module = "visual"
    vlm_root = "model.visual"
    post_norm = "post_layernorm"
    by_squares = True
    image_processor = "Cosmos3EdgeImageProcessor"
    tiny: ClassVar = {"num_patches": 16, "patch_size": 16}

    # --- facts ----------------------------------------------------------------------------------------

    def stem_shapes(self, encoder: Cosmos3EdgeVisionEncoderConfig) -> Shapes:
        table: Shapes = {"embeddings.position_embedding.weight": (encoder.num_patches, encoder.hidden_size)}
        return linear_patches(self.patch_projection, encoder) | table

    def block_shapes(self, encoder: Cosmos3EdgeVisionEncoderConfig) -> Shapes:
        return clip_block(encoder.hidden_size, encoder.intermediate_size)

    # --- running --------------------------------------------------------------------------------------

    def layout(
        self, model: FromTransformers, batch: PackedBatch, device: torch.device, dtype: torch.dtype
    ) -> Layout:
        return Layout(batch.grids, frames=frame_segments(batch.grids, device))

    def stem(self, model: FromTransformers, pixels: Tensor, layout: Layout) -> Tensor:
        import torch

        patches = super().stem(model, pixels, layout)
        embeddings, side = model.embeddings, model.embeddings.position_embedding_size
        # Smoothed where the table is larger than the image, so that no four rows give a position.
        positions: Tensor = embeddings.resize_positional_embeddings(
            position_table(embeddings.position_embedding).view(side, side, -1),
            torch.tensor(layout.grids, device="cpu"),
            model.config.spatial_merge_size,
        )
        return patches + positions
