"""SigLIP 2 at native aspect ratio, "NaFlex" (``Siglip2VisionModel``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..attention.sending import to_device
from ..errors import InputError
from ..schemas.encoders.siglip2 import Siglip2VisionEncoderConfig
from .aliases import BlockInputs, FromTransformers
from .clip import clip_block
from .facts import Grid, VisionEncoderInfo
from .inputs import check_mask, check_pixels, refuse_unknown, rows_of_integers, without_padding
from .layout import Layout, frame_segments
from .packed import PackedBatch, PackedFamily
from .patch_embedding import position_table
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
        position_taps: What :func:`resized_table` returns.
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
        grids = batch.grids
        side = model.embeddings.position_embedding_size
        rows, weights, starts = resized_table(grids, side)
        return SigLIP2Layout(
            grids,
            frames=frame_segments(grids, device),
            position_taps=(to_device(rows, device), to_device(weights, device), to_device(starts, device)),
        )

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


def resized_table(grids: Sequence[Grid], side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compute how a ``side`` x ``side`` position table is resized to each grid, bilinearly with antialiasing.

    Returns:
        The rows of the table that each patch uses, int64, and their weights, float32, patch after patch; and
        the index at which each patch begins, (tokens,) int64.
    """
    import torch

    sizes = [(rows, columns) for _, rows, columns in grids]
    resized = {size: _resized_to(size, side) for size in dict.fromkeys(sizes)}
    rows, weights, counts = (torch.cat([resized[size][part] for size in sizes]) for part in range(3))
    return rows, weights, counts.cumsum(0) - counts


def _resized_to(size: tuple[int, int], side: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return rows of the table, their weights, and how many rows each patch uses, in raster order."""
    by_row, by_column = (_filter(length, side) for length in size)
    weights = (by_row[:, None, :, None] * by_column[None, :, None, :]).flatten(2).flatten(0, 1)
    used = weights != 0
    return used.nonzero()[:, 1], weights[used], used.sum(dim=1)


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
