"""MiniMax-M3-VL (``MiniMaxM3VLVisionModel``): frames of a clip attend to each other, and the rope is over
frames, rows and columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..attention.sending import Parcel
from ..schemas.encoders.minimax_m3_vl import MiniMaxM3VLVisionEncoderConfig
from .aliases import BlockInputs, FromTransformers
from .clip import clip_block
from .layout import RopeLayout, clip_segments
from .patch_rows import RopeRowsFamily
from .places import send_integers
from .reading import Reading
from .rope import Rope, on_halves, rope_base, rope_frequencies
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
        import torch

        grids, config, parcel = batch.grids, model.config, Parcel(device)
        frames, patches = clip_segments(grids, parcel), self.patches(model, grids, parcel)
        numbers = send_integers([frame for t, _, _ in grids for frame in range(t)], parcel)
        # A part of each head has a rope: a third each for frames, rows and columns.
        third = config.hidden_size // config.num_attention_heads // 3 // 2 * 2
        rope = Rope(on_halves(*[rope_frequencies(third, rope_base(config))] * 3), grids, parcel)
        places = torch.cat([numbers()[patches.frame][:, None], patches.positions], dim=1)
        return RopeLayout(grids, frames=frames, rope=rope.at(places, dtype))

    def stem(self, model: FromTransformers, pixels: Tensor, layout: RopeLayout) -> Tensor:
        norm = model.pre_layrnorm
        # As in transformers, the residual stream has the norm's dtype, under autocast too.
        embedded: Tensor = norm(super().stem(model, pixels, layout).to(norm.weight.dtype))
        return embedded.unsqueeze(0)

    def block_inputs(self, block: int, layout: RopeLayout) -> BlockInputs:
        # Before 5.23, transformers' blocks require a mask that they do not use.
        return super().block_inputs(block, layout) | {"attention_mask": None}
