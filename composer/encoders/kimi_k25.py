"""Kimi K2.5's tower, MoonViT-3d (``Kimi_K25VisionModel``): frames of a clip attend to each other, and are
averaged into one at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import TYPE_CHECKING, ClassVar

from ..attention.sending import Parcel
from ..images.resize import ResizeRule
from ..schemas.encoders.kimi_k25 import KimiK25VisionEncoderConfig
from .aliases import FromTransformers
from .facts import Grid, VisionEncoderInfo
from .layout import TableLayout, clip_segments
from .patch_rows import RopeRowsFamily
from .places import Patches, send_integers
from .position_taps import PositionTaps
from .reading import Reading
from .rope import Rope, rope_base, rope_frequencies
from .shapes import Shapes, conv_patches, layer_norm, linears, mlp

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .packed import PackedBatch


@dataclass(frozen=True, eq=False)
class KimiLayout(TableLayout):
    """The layout of images and clips whose frames are averaged in the end.

    Attributes:
        frame_index: Each token's row in the table of frames, (tokens,) int32.
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

    def padding(self, info: VisionEncoderInfo) -> None:
        return None  # frames are pooled

    def patch_shape(self, info: VisionEncoderInfo) -> tuple[int, ...]:
        return info.num_channels, info.patch_size, info.patch_size

    def layout(
        self, model: FromTransformers, batch: PackedBatch, device: torch.device, dtype: torch.dtype
    ) -> KimiLayout:
        import torch

        grids, config, parcel = batch.grids, model.config, Parcel(device)
        frames, patches = clip_segments(grids, parcel), Patches(grids, parcel)
        taps = PositionTaps(grids, parcel, config.pos_emb_height, "bicubic")
        pooling = Pooling(grids, parcel, config.merge_kernel_size[0])
        # Row 0 of the table of frames is for single images.
        numbers = send_integers([frame + int(t > 1) for t, _, _ in grids for frame in range(t)], parcel)
        head = config.hidden_size // config.num_attention_heads
        frequencies = rope_frequencies(head // 2, rope_base(config))
        # Columns and rows take turns in either half of a head.
        in_turn = [(frequencies[:, None] * axis).flatten() for axis in torch.eye(2, dtype=torch.float32)]
        rope = Rope(torch.stack(in_turn).repeat(1, 2), grids, parcel)
        rows, weights = taps.at(patches)
        return KimiLayout(
            grids,
            frames=frames,
            rope=rope.at(patches.positions.flip(1)),
            position_taps=(rows, weights.to(dtype)),
            frame_index=numbers()[patches.frame],
            pooling=pooling.of(patches),
        )

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


class Pooling:
    """Where the merger puts the tokens of clips, whose frames it averages.

    Args:
        grids: Frames, rows and columns of every clip.
        parcel: Takes what is sent to the device.
        merge_size: Side of the squares that are merged, in patches.
    """

    def __init__(self, grids: Sequence[Grid], parcel: Parcel, merge_size: int) -> None:
        import torch

        starts = accumulate((h * w for _, h, w in grids), initial=0)
        of_frames = [[start, w] for (t, _, w), start in zip(grids, starts, strict=False) for _ in range(t)]
        self._merge_size = merge_size
        self._frames = send_integers(of_frames, parcel)
        shares = [1.0 / t for t, _, _ in grids for _ in range(t)]
        self._shares = parcel.add(torch.tensor(shares, dtype=torch.float32))

    def of(self, patches: Patches) -> tuple[Tensor, Tensor]:
        """Return each patch's place in a frame, grouped by squares, int32, and its share in the average."""
        side = self._merge_size
        starts, widths = self._frames()[patches.frame].unbind(1)
        rows, columns = patches.positions.unbind(1)
        inside = rows % side * side + columns % side
        squares = (rows - rows % side) * widths + (columns - columns % side) * side
        return starts + squares + inside, self._shares()[patches.frame]
