"""The base class of the vision towers of Idefics2, Idefics3 and SmolVLM: inputs, positions and blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from ..attention.sending import Parcel
from ..errors import InputError
from ..images.resize import AriaCanvas, EdgeBounds, FixedSize, ResizeRule
from ..images.settings import ProcessorSettings
from ..schemas.encoders.idefics import IdeficsVisionEncoderConfig
from .aliases import BlockInputs, FromTransformers
from .batch import take_rows
from .clip import clip_block
from .facts import Grid, VisionEncoderInfo
from .inputs import check_mask, check_pixels, refuse_unknown
from .layout import Layout, frame_segments
from .packed import PackedBatch, PackedImagesFamily
from .places import LENGTHS, AxisTables, Patches, independent
from .shapes import Shapes, conv_patches, num_positions

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class IdeficsLayout(Layout):
    """The layout of images whose patches take rows of a position table.

    Attributes:
        table_rows: The row of each patch, (tokens,) int32.
    """

    table_rows: Tensor


class Idefics(PackedImagesFamily[IdeficsVisionEncoderConfig, IdeficsLayout]):
    """The towers of Idefics2, Idefics3 and SmolVLM. Patches of an image are in raster order."""

    post_norm = "post_layernorm"
    whole_patches: ClassVar[bool]
    """Whether the model leaves out patches that are partly padding."""

    # --- facts ----------------------------------------------------------------------------------------

    def stem_shapes(self, encoder: IdeficsVisionEncoderConfig) -> Shapes:
        return {
            **conv_patches("embeddings.patch_embedding", encoder),
            "embeddings.position_embedding.weight": (num_positions(encoder), encoder.hidden_size),
        }

    def block_shapes(self, encoder: IdeficsVisionEncoderConfig) -> Shapes:
        return clip_block(encoder.hidden_size, encoder.intermediate_size)

    def image_processor_settings(self, encoder: IdeficsVisionEncoderConfig) -> dict[str, object]:
        return {"do_resize": True, "do_pad": True}  # the mask says where an image ends

    def resize_rule(self, encoder: IdeficsVisionEncoderConfig, settings: ProcessorSettings) -> ResizeRule:
        rule = super().resize_rule(encoder, settings)
        if not isinstance(rule, (AriaCanvas, EdgeBounds, FixedSize)):
            raise TypeError(f"{self.model_type} is not resized by {rule!r}")
        return replace(rule, patch_size=encoder.patch_size)

    # --- running --------------------------------------------------------------------------------------

    def read(
        self, model: FromTransformers, info: VisionEncoderInfo, inputs: Mapping[str, object]
    ) -> PackedBatch:
        """Read ``pixel_values`` and a mask.

        ``pixel_values`` are (samples, images, channels, height, width), padded at the bottom and the right.
        The mask is ``pixel_attention_mask`` (samples, images, height, width), or ``patch_attention_mask``
        (samples, images, rows, columns), which transformers' tower takes; without a mask no image has
        padding. All may lack the axis of samples.

        The images of all samples are one batch. With an axis of samples, an image with an empty mask only
        fills up its sample and is left out.
        """
        images, kept, grids = self._images(info, inputs)
        return PackedBatch(take_rows(images, kept), grids)

    def _images(
        self, info: VisionEncoderInfo, inputs: Mapping[str, object]
    ) -> tuple[Tensor, list[int], tuple[Grid, ...]]:
        """Return the pixels of all images, the indices of the real ones, and the grids of those."""
        refuse_unknown(
            info.model_type, inputs, ("pixel_values", "pixel_attention_mask", "patch_attention_mask")
        )
        pixels = check_pixels("pixel_values", inputs.get("pixel_values"))
        shape, side = tuple(pixels.shape), info.patch_size
        if len(shape) not in (4, 5) or shape[-3] != info.num_channels:
            raise InputError(
                f"pixel_values must be ([samples,] images, {info.num_channels}, height, width), not {shape}"
            )
        if min(shape[-2:]) < side:
            raise InputError(
                f"pixel_values of {shape[-1]}x{shape[-2]} pixels are smaller than one patch of {side}x{side}"
            )
        images = pixels.flatten(0, -4)
        name, valid, empty = self._valid_patches(inputs, shape, side)
        kept, grids = [], []
        for i, (rows, columns, is_rectangle, is_empty) in enumerate(_rectangles(valid, empty)):
            if is_empty and len(shape) == 5:
                continue
            if not is_rectangle:
                raise InputError(f"{name} of image {i} must mark a rectangle of patches at the upper left")
            if not rows:
                whole = f"whole patch of {side}x{side}" if self.whole_patches else "patch"
                raise InputError(f"{name} of image {i} must mark at least one {whole}")
            kept.append(i)
            grids.append((1, rows, columns))
        return images, kept, tuple(grids)

    def _valid_patches(
        self, inputs: Mapping[str, object], shape: tuple[int, ...], side: int
    ) -> tuple[str, Tensor, Tensor]:
        """Return the mask's name, the valid patches (images, rows, columns), and which images are empty."""
        import torch

        batch, rows, columns = shape[:-3], shape[-2] // side, shape[-1] // side
        if "pixel_attention_mask" in inputs and "patch_attention_mask" in inputs:
            raise InputError("give pixel_attention_mask or patch_attention_mask, not both")
        if "pixel_attention_mask" in inputs:
            name = "pixel_attention_mask"
            mask = check_mask(name, inputs[name], (*batch, *shape[-2:])).flatten(0, -3)
            whole = mask[:, : rows * side, : columns * side]
            by_patch = whole.reshape(-1, rows, side, columns, side)
            valid = by_patch.all(dim=(2, 4)) if self.whole_patches else by_patch.any(dim=(2, 4))
            return name, valid, ~mask.flatten(1).any(dim=1)
        name = "patch_attention_mask"
        everything = torch.ones((*batch, rows, columns), dtype=torch.bool)
        valid = check_mask(name, inputs.get(name, everything), tuple(everything.shape)).flatten(0, -3)
        return name, valid, ~valid.flatten(1).any(dim=1)

    def reference_inputs(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"pixel_values": inputs["pixel_values"].flatten(0, -4)}  # a single image has no padding

    def layout(
        self, model: FromTransformers, batch: PackedBatch, device: torch.device, dtype: torch.dtype
    ) -> IdeficsLayout:
        grids, parcel = batch.grids, Parcel(device)
        side = model.config.image_size // model.config.patch_size
        frames, patches = frame_segments(grids, parcel), Patches(grids, parcel)
        tables = AxisTables(grids, lambda length: (spread(length, side),), parcel)
        (places,) = tables.of(patches)
        return IdeficsLayout(grids, frames=frames, table_rows=places[:, 0] * side + places[:, 1])

    def stem(self, model: FromTransformers, pixels: Tensor, layout: IdeficsLayout) -> Tensor:
        patches = self.patch_tokens(model.embeddings.patch_embedding, pixels, layout.grids)
        embedded: Tensor = (patches + model.embeddings.position_embedding(layout.table_rows)).unsqueeze(0)
        return embedded

    def block_inputs(self, block: int, layout: IdeficsLayout) -> BlockInputs:
        return {"attention_mask": layout.frames}


def _rectangles(valid: Tensor, empty: Tensor) -> list[list[int]]:
    """Return each image's rows and columns of valid patches, whether they form a rectangle, and ``empty``."""
    import torch

    rows, columns = valid[:, :, 0].sum(dim=1), valid[:, 0].sum(dim=1)
    in_rows = torch.arange(valid.shape[1], device=valid.device) < rows[:, None]
    in_columns = torch.arange(valid.shape[2], device=valid.device) < columns[:, None]
    same = ((in_rows[:, :, None] & in_columns[:, None, :]) == valid).flatten(1).all(dim=1)
    facts: list[list[int]] = torch.stack(
        [rows, columns, same, empty], dim=1
    ).tolist()  # one read of the device
    return facts


@lru_cache(LENGTHS)
@independent
def spread(length: int, side: int) -> Tensor:
    """Spread the patches along an axis evenly over ``side`` places of a position table, (length,) int32."""
    import torch

    boundaries = torch.arange(1 / side, 1.0, 1 / side, dtype=torch.float32)
    # In float32 and in this order: other rounding would give patches on a boundary another row.
    places = torch.arange(length, dtype=torch.float32) * (1.0 / torch.tensor(length, dtype=torch.float32))
    return torch.bucketize(places.clamp(max=1.0 - 1e-6), boundaries, right=True, out_int32=True)
