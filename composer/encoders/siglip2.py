"""SigLIP 2 at native aspect ratio, "NaFlex" (``Siglip2VisionModel``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from ..attention.sending import Parcel
from ..errors import InputError
from ..schemas.encoders.siglip2 import Siglip2VisionEncoderConfig
from .aliases import BlockInputs, FromTransformers
from .clip import clip_block
from .facts import Grid, VisionEncoderInfo
from .inputs import check_mask, check_pixels, refuse_unknown, rows_of_integers, without_padding
from .layout import Layout, frame_segments
from .packed import PackedBatch, PackedFamily
from .patch_embedding import position_table
from .places import LENGTHS, AxisTables, Patches, independent
from .reading import Reading
from .shapes import Shapes, linear_patches
from .siglip import pooling_flops, pooling_shapes

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class SigLIP2Layout(Layout):
    """The layout of images to which a position table is resized.

    Attributes:
        position_taps: What :meth:`ResizedTable.at` returns.
    """

    position_taps: tuple[Tensor, Tensor, Tensor]


class SigLIP2(PackedFamily[Siglip2VisionEncoderConfig, SigLIP2Layout]):
    """The family of siglip2_vision_model. Patches of an image are in raster order."""

    model_type = "siglip2_vision_model"
    model_class = "Siglip2VisionModel"
    config_class = "Siglip2VisionConfig"
    read_by: ClassVar = {"siglip2": Reading(), "lfm2_vl": Reading()}
    post_norm = "post_layernorm"
    head = "head"
    head_field = "vision_use_head"
    image_processor = "Siglip2ImageProcessor"

    def stem_shapes(self, encoder: Siglip2VisionEncoderConfig) -> Shapes:
        return {
            **linear_patches("embeddings.patch_embedding", encoder),
            "embeddings.position_embedding.weight": (encoder.num_patches, encoder.hidden_size),
        }

    def block_shapes(self, encoder: Siglip2VisionEncoderConfig) -> Shapes:
        return clip_block(encoder.hidden_size, encoder.intermediate_size)

    def head_shapes(self, encoder: Siglip2VisionEncoderConfig) -> Shapes:
        return pooling_shapes(encoder.hidden_size, encoder.intermediate_size)

    def head_flops(self, encoder: Siglip2VisionEncoderConfig, num_tokens: int) -> int:
        return pooling_flops(encoder.hidden_size, encoder.intermediate_size, num_tokens)

    def image_processor_defaults(self, encoder: Siglip2VisionEncoderConfig) -> dict[str, object]:
        return {"max_num_patches": encoder.num_patches}

    def image_processor_settings(self, encoder: Siglip2VisionEncoderConfig) -> dict[str, object]:
        patch = encoder.patch_size  # LFM2-VL's processor calls it by the other name
        return {"do_resize": True, "do_pad": True, "patch_size": patch, "encoder_patch_size": patch}

    # --- running --------------------------------------------------------------------------------------

    def read(
        self, model: FromTransformers, info: VisionEncoderInfo, inputs: Mapping[str, object]
    ) -> PackedBatch:
        """Read ``pixel_values``, ``pixel_attention_mask`` and ``spatial_shapes``.

        ``pixel_values`` are (images, patches, height x width x channels of a patch), padded at the end.
        ``pixel_attention_mask`` is (images, patches), and ``spatial_shapes`` (images, 2) are rows and columns
        of patches.
        """
        import torch

        names = ("pixel_values", "pixel_attention_mask", "spatial_shapes")
        refuse_unknown(info.model_type, inputs, names)
        pixels = check_pixels("pixel_values", inputs.get("pixel_values"))
        values = info.num_channels * info.patch_size**2
        shape = tuple(pixels.shape)
        if len(shape) != 3 or shape[2] != values:
            raise InputError(f"pixel_values must be (images, patches, {values}), not {shape}")
        sizes = rows_of_integers("spatial_shapes", inputs.get("spatial_shapes"), 2, "rows and columns")
        if len(sizes) != shape[0]:
            raise InputError(f"spatial_shapes has {len(sizes)} rows for {shape[0]} images in pixel_values")
        for i, (rows, columns) in enumerate(sizes):
            if min(rows, columns) < 1:
                raise InputError(f"spatial_shapes[{i}] is {rows, columns}; both must be at least 1")
            if rows * columns > shape[1]:
                raise InputError(
                    f"spatial_shapes[{i}] is {rows}x{columns} patches, but pixel_values has {shape[1]}"
                )
        mask = check_mask("pixel_attention_mask", inputs.get("pixel_attention_mask"), shape[:2])
        lengths = [rows * columns for rows, columns in sizes]
        filled = torch.arange(shape[1], device="cpu") < torch.tensor(lengths, device="cpu")[:, None]
        wrong = (mask != filled).any(dim=1).nonzero().flatten().tolist()
        if wrong:
            rows, columns = sizes[wrong[0]]
            raise InputError(
                f"pixel_attention_mask[{wrong[0]}] must mark the first {rows * columns} patches, those of "
                f"spatial_shapes[{wrong[0]}], and no others"
            )
        grids = tuple((1, rows, columns) for rows, columns in sizes)
        return PackedBatch(without_padding(pixels, lengths), grids)

    def layout(
        self, model: FromTransformers, batch: PackedBatch, device: torch.device, dtype: torch.dtype
    ) -> SigLIP2Layout:
        grids, parcel = batch.grids, Parcel(device)
        frames, patches = frame_segments(grids, parcel), Patches(grids, parcel)
        table = ResizedTable(grids, parcel, model.embeddings.position_embedding_size)
        return SigLIP2Layout(grids, frames=frames, position_taps=table.at(patches))

    def stem(self, model: FromTransformers, pixels: Tensor, layout: SigLIP2Layout) -> Tensor:
        from torch.nn.functional import embedding_bag

        rows, weights, offsets = layout.position_taps
        table = position_table(model.embeddings.position_embedding)
        # Summed in float32, as in transformers, whatever the dtype of the parameters.
        positions = embedding_bag(rows, table.float(), offsets, mode="sum", per_sample_weights=weights)
        embedded: Tensor = (model.embeddings.patch_embedding(pixels) + positions.to(table.dtype)).unsqueeze(0)
        return embedded

    def block_inputs(self, block: int, layout: SigLIP2Layout) -> BlockInputs:
        return {"attention_mask": layout.frames}

    def pooled(self, model: FromTransformers, hidden_states: Tensor, layout: SigLIP2Layout) -> Tensor:
        import torch

        lengths = [rows * columns for _, rows, columns in layout.grids]
        images = torch.split(hidden_states.squeeze(0), lengths)
        pooled: dict[int, Tensor] = {}
        for length in dict.fromkeys(lengths):  # images of the same length form a batch without padding
            batch = [i for i, own in enumerate(lengths) if own == length]
            pooled |= zip(batch, model.head(torch.stack([images[i] for i in batch])), strict=True)
        return torch.stack([pooled[i] for i in range(len(images))])


class ResizedTable:
    """A ``side`` x ``side`` position table, resized to each grid bilinearly with antialiasing.

    Args:
        grids: Frames, rows and columns of every image; frames are 1.
        parcel: Takes what is sent to the device.
        side: Rows and columns of the table.
    """

    def __init__(self, grids: Sequence[Grid], parcel: Parcel, side: int) -> None:
        import torch

        lengths = sorted({length for _, *axes in grids for length in axes})
        taps = {length: _taps(length, side) for length in lengths}
        self._side = side
        self._num_taps = sum(len(taps[h].rows) * len(taps[w].rows) for _, h, w in grids)
        starts = dict(zip(lengths, accumulate((len(taps[n].rows) for n in lengths), initial=0), strict=False))

        def table(length: int) -> tuple[Tensor, ...]:
            return taps[length].counts, taps[length].begins + starts[length]

        self._axes = AxisTables(grids, table, parcel)
        self._rows = parcel.add(torch.cat([taps[length].rows for length in lengths]))
        self._weights = parcel.add(torch.cat([taps[length].weights for length in lengths]))

    def at(self, patches: Patches) -> tuple[Tensor, Tensor, Tensor]:
        """Return how each patch's position is made.

        Returns:
            The rows of the table that each patch uses, int32, and their weights, float32, patch after patch;
            and the index at which each patch begins, (tokens,) int32.
        """
        import torch

        counts, starts = self._axes.of(patches)  # (tokens, axis)
        num_taps = counts.prod(1, dtype=torch.int32)
        begins = num_taps.cumsum(0, dtype=torch.int32) - num_taps
        patch = torch.repeat_interleave(num_taps, output_size=self._num_taps)
        inside = torch.arange(self._num_taps, dtype=torch.int32, device=patch.device) - begins[patch]
        columns = counts[:, 1][patch]
        down = inside.div(columns, rounding_mode="floor")
        by_row = starts[:, 0][patch] + down
        by_column = starts[:, 1][patch] + inside - down * columns
        rows, weights = self._rows(), self._weights()
        return rows[by_row] * self._side + rows[by_column], weights[by_row] * weights[by_column], begins


class _Taps(NamedTuple):
    """What each patch along an axis uses of a table's axis.

    Attributes:
        rows: The places in the table, int32, patch after patch.
        weights: Their weights, float32.
        counts: How many there are for each patch, int32.
        begins: The first of each patch, int32.
    """

    rows: Tensor
    weights: Tensor
    counts: Tensor
    begins: Tensor


@lru_cache(LENGTHS)
@independent
def _taps(length: int, side: int) -> _Taps:
    weights = _filter(length, side)
    used = weights != 0
    counts = used.sum(dim=1)
    begins = counts.cumsum(0) - counts
    return _Taps(used.nonzero()[:, 1].int(), weights[used], counts.int(), begins.int())


def _filter(length: int, side: int) -> Tensor:
    """Return the weights of ``side`` samples in each of ``length`` new ones, (length, side).

    A weight is a triangle, two samples of the coarser side wide. The centres of the first and last sample are
    half a sample inside the ends.
    """
    import torch

    scale = torch.tensor(side, dtype=torch.float32) / length
    centers = (torch.arange(length, dtype=torch.float32) + 0.5) * scale - 0.5
    distances = (torch.arange(side) - centers[:, None]).abs()
    weights = (1 - distances / scale.clamp(min=1)).clamp(min=0)
    return weights / weights.sum(dim=1, keepdim=True)
