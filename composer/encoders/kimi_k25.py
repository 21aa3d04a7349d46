"""Kimi K2.5's tower, MoonViT-3d (``Kimi_K25VisionModel``): frames of a clip attend to each other, and are
averaged into one at the end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from ..attention.sending import to_device
from ..images.resize import ResizeRule
from ..schemas.encoders.kimi_k25 import KimiK25VisionEncoderConfig
from .aliases import FromTransformers
from .facts import Grid, VisionEncoderInfo
from .layout import (
    TableLayout,
    clip_segments,
    cosines_and_sines,
    patch_positions,
    rope_base,
    rope_frequencies,
    table_taps,
)
from .patch_rows import RopeRowsFamily
from .reading import Reading
from .shapes import Shapes, conv_patches, layer_norm, linears, mlp

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .packed import PackedBatch


@dataclass(frozen=True, eq=False)
class KimiLayout(TableLayout):
    """The layout of images and clips whose frames are averaged in the end.

    Attributes:
        frame_index: Each token's row in the table of frames, (tokens,) int64.
        pooling: The place where the merger puts each token, and the token's weight there, (tokens,) each.
    """

    frame_index: Tensor
    pooling: tuple[Tensor, Tensor]


class KimiK25(RopeRowsFamily[KimiK25VisionEncoderConfig, KimiLayout]):
    """The family of kimi_k25_vision.

    Patches are in raster order, frame after frame. A merged token is a square of merge_kernel_size² patches,
    each averaged over the frames, concatenated on the feature axis in raster order.
    """

    model_type = "kimi_k25_vision"
    module = "transformers.models.kimi_k25.modeling_kimi_k25"
    model_class = "Kimi_K25VisionModel"
    config_class = "Kimi_K25VisionConfig"
    read_by: ClassVar = {"kimi_k25": Reading()}
    vlm = "kimi_k25"
    blocks = "layers"
    post_norm = "final_layernorm"
    image_processor = "Kimi_K25ImageProcessor"
    patch_projection = "patch_embed.proj"
    attends_across_frames = True
    tiny: ClassVar = {"pos_emb_height": 5, "pos_emb_width": 5}

    # --- facts ----------------------------------------------------------------------------------------

    def info(
        self, encoder: KimiK25VisionEncoderConfig, resize: ResizeRule | None = None
    ) -> VisionEncoderInfo:
        return replace(super().info(encoder, resize), max_frames=encoder.pos_emb_time, pools_frames=True)

    def stem_shapes(self, encoder: KimiK25VisionEncoderConfig) -> Shapes:
        table = (encoder.pos_emb_height, encoder.pos_emb_width, encoder.hidden_size)
        positions: Shapes = {"patch_embed.pos_emb.position_embeddings": table}
        return conv_patches(self.patch_projection, encoder) | positions

    def block_shapes(self, encoder: KimiK25VisionEncoderConfig) -> Shapes:
        width = encoder.hidden_size
        return {
            **layer_norm("norm1", width),
            **layer_norm("norm2", width),
            **linears("attn", ("q_proj", "k_proj", "v_proj", "proj"), width, width),
            **mlp("mlp", width, encoder.intermediate_size),
        }

    def transformers_fields(self, encoder: KimiK25VisionEncoderConfig) -> dict[str, object]:
        kernel = (encoder.merge_kernel_size, encoder.merge_kernel_size)
        return super().transformers_fields(encoder) | {"merge_kernel_size": kernel}

    # --- running --------------------------------------------------------------------------------------

    def patch_shape(self, info: VisionEncoderInfo) -> tuple[int, ...]:
        return info.num_channels, info.patch_size, info.patch_size

    def layout(
        self, model: FromTransformers, batch: PackedBatch, device: torch.device, dtype: torch.dtype
    ) -> KimiLayout:
        grids = batch.grids
        config = model.config
        rows, weights = table_taps(grids, 1, config.pos_emb_height, mode="bicubic")
        places, shares = _pooling(grids, config.merge_kernel_size[0])
        return KimiLayout(
            grids,
            frames=clip_segments(grids, device),
            rope=self.rope(model, grids, device),
            position_taps=(to_device(rows, device), to_device(weights.to(dtype), device)),
            frame_index=to_device(_frame_index(grids), device),
            pooling=(to_device(places, device), to_device(shares, device)),
        )

    def rope(
        self, model: FromTransformers, grids: tuple[Grid, ...], device: torch.device
    ) -> tuple[Tensor, Tensor]:
        config = model.config
        head = config.hidden_size // config.num_attention_heads
        frequencies = rope_frequencies(head // 2, rope_base(config))
        columns_rows = patch_positions(grids).float().flip(-1)
        angles = (frequencies[:, None] * columns_rows[:, None]).flatten(1)
        cosines, sines = cosines_and_sines(angles)
        return to_device(cosines, device), to_device(sines, device)

    def stem(self, model: FromTransformers, pixels: Tensor, layout: KimiLayout) -> Tensor:
        from torch.nn.functional import embedding_bag

        patches = super().stem(model, pixels, layout)
        positions = model.patch_embed.pos_emb
        rows, weights = layout.position_taps
        table = positions.position_embeddings.flatten(0, 1)
        place = embedding_bag(rows, table, per_sample_weights=weights, mode="sum")
        place = place + positions.time_position_embeddings[layout.frame_index]
        embedded: Tensor = patches + place.to(patches.dtype)
        return embedded

    def merged(self, model: FromTransformers, hidden_states: Tensor, layout: KimiLayout) -> Tensor:
        import torch

        places, shares = layout.pooling
        width = hidden_states.shape[-1]
        patches = sum(h * w for _, h, w in layout.grids)
        # Averaged in float32, as in transformers.
        pooled = hidden_states.new_zeros(patches, width, dtype=torch.float32)
        pooled = pooled.index_add(0, places, hidden_states.float() * shares[:, None])
        square = model.config.merge_kernel_size[0] ** 2
        return pooled.to(hidden_states.dtype).view(patches // square, square * width)

    def reference_output(self, output: FromTransformers, batch: PackedBatch) -> Tensor:
        pooled: Tensor = output.pooler_output
        return pooled.flatten(1)  # patches side by side


def _frame_index(grids: tuple[Grid, ...]) -> Tensor:
    """Return the row of each patch's frame in the table of frames; row 0 is for single images."""
    import torch

    return torch.cat([(torch.arange(t) + int(t > 1)).repeat_interleave(h * w) for t, h, w in grids])


def _pooling(grids: tuple[Grid, ...], merge_size: int) -> tuple[Tensor, Tensor]:
    """Return each patch's place in a frame, grouped by squares, and its share in the average."""
    import torch

    places, shares, start = [], [], 0
    for frames, rows, columns in grids:
        by_square = patch_positions([(1, rows, columns)], merge_size)
        place = torch.empty(rows * columns, dtype=torch.long)
        place[by_square[:, 0] * columns + by_square[:, 1]] = torch.arange(rows * columns)
        places.append((place + start).repeat(frames))
        shares.append(torch.full((frames * rows * columns,), 1.0 / frames, dtype=torch.float32))
        start += rows * columns
    return torch.cat(places), torch.cat(shares)
