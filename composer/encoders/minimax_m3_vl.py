"""MiniMax-M3-VL (``MiniMaxM3VLVisionModel``): frames of a clip attend to each other, and the rope is over
frames, rows and columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..attention.sending import to_device
from ..schemas.encoders.minimax_m3_vl import MiniMaxM3VLVisionEncoderConfig
from .aliases import BlockInputs, FromTransformers
from .clip import clip_block
from .facts import Grid
from .layout import RopeLayout, clip_segments, cosines_and_sines, patch_positions, rope_base, rope_frequencies
from .patch_rows import RopeRowsFamily
from .reading import Reading
from .shapes import Shapes, conv_patches, layer_norm

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .packed import PackedBatch


class MiniMaxM3VL(RopeRowsFamily[MiniMaxM3VLVisionEncoderConfig, RopeLayout]):
    """The family of minimax_m3_vl_vision. Patches are in Qwen-VL's order; the language model merges them.

    Before transformers 5.18 its class had a rope over rows and columns only, and gave other features.
    """

    model_type = "minimax_m3_vl_vision"
    since = "5.18"
    module = "transformers.models.minimax_m3_vl.modeling_minimax_m3_vl"
    model_class = "MiniMaxM3VLVisionModel"
    config_class = "MiniMaxM3VLVisionConfig"
    read_by: ClassVar = {"minimax_m3_vl": Reading()}
    vlm = "minimax_m3_vl"
    blocks = "layers"
    image_processor = "MiniMaxM3VLImageProcessor"
    patch_projection = "embeddings.proj"
    by_squares = True
    attends_across_frames = True

    def stem_shapes(self, encoder: MiniMaxM3VLVisionEncoderConfig) -> Shapes:
        frames = encoder.temporal_patch_size
        patches = conv_patches(self.patch_projection, encoder, bias=False, frames=frames)
        return patches | layer_norm("pre_layrnorm", encoder.width)

    def block_shapes(self, encoder: MiniMaxM3VLVisionEncoderConfig) -> Shapes:
        return clip_block(encoder.width, encoder.intermediate_size)

    # --- running --------------------------------------------------------------------------------------

    def layout(
        self, model: FromTransformers, batch: PackedBatch, device: torch.device, dtype: torch.dtype
    ) -> RopeLayout:
        grids = batch.grids
        cosines, sines = self.rope(model, grids, device)
        rope = cosines.to(dtype), sines.to(dtype)
        return RopeLayout(grids, frames=clip_segments(grids, device), rope=rope)

    def rope(
        self, model: FromTransformers, grids: tuple[Grid, ...], device: torch.device
    ) -> tuple[Tensor, Tensor]:
        """Compute cosines and sines for a part of each head: a third each for frames, rows and columns."""
        import torch

        config = model.config
        third = config.hidden_size // config.num_attention_heads // 3 // 2 * 2
        frames = torch.cat([torch.arange(t).repeat_interleave(h * w) for t, h, w in grids])
        places = torch.cat([frames[:, None], patch_positions(grids, config.spatial_merge_size)], dim=1)
        angles = (places.float()[..., None] * rope_frequencies(third, rope_base(config))).flatten(1)
        cosines, sines = cosines_and_sines(angles)
        return to_device(cosines, device), to_device(sines, device)

    def stem(self, model: FromTransformers, pixels: Tensor, layout: RopeLayout) -> Tensor:
        norm = model.pre_layrnorm
        # As in transformers, the residual stream has the norm's dtype, under autocast too.
        embedded: Tensor = norm(super().stem(model, pixels, layout).to(norm.weight.dtype))
        return embedded.unsqueeze(0)

    def block_inputs(self, block: int, layout: RopeLayout) -> BlockInputs:
        # Before 5.23, transformers' blocks require a mask that they do not use.
        return super().block_inputs(block, layout) | {"attention_mask": None}
