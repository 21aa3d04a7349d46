"""The base classes of packed families, which take images of any size in one sequence."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, ClassVar, Generic, Self

from ..images.resize import ResizeRule
from ..images.settings import ProcessorSettings
from .aliases import BlockInputs, FromTransformers
from .base import EncoderFamily
from .batch import Batch, NumTokens, take_rows
from .facts import Grid, VisionEncoderInfo
from .layout import LayoutT
from .padding import Padding
from .patch_embedding import embed_patches
from .processing import C

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..images.preprocess import ImagePreprocessor


_TOKENS_A_SEGMENT = 256
"""There is room for one frame of so many tokens on average; kernels look at every place."""
_FEWEST_SEGMENTS = 8


@dataclass(frozen=True, eq=False)
class PackedBatch(Batch):
    """Images or clips of any size.

    Attributes:
        pixels: (patches, ...), one row per patch, image after image; or (images, channels, height, width),
            padded at the bottom and the right.
        grids: Frames, patch rows and patch columns of every image.
    """

    pixels: Tensor
    grids: tuple[Grid, ...]

    @property
    def layout_key(self) -> Hashable:
        return self.grids

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        return replace(self, pixels=self.pixels.to(device, dtype))

    def take(self, images: Sequence[int]) -> Self:
        import torch

        if len(self.pixels) == len(self.grids):  # one row per image: also true if every image is one patch
            pixels = take_rows(self.pixels, images)
        else:
            pieces = torch.split(self.pixels, [prod(grid) for grid in self.grids])
            pixels = torch.cat([pieces[i] for i in images]) if images else self.pixels[:0]
        return replace(self, pixels=pixels, grids=tuple(self.grids[i] for i in images))

    def split(self, features: Tensor, num_tokens: NumTokens) -> tuple[Tensor, ...]:
        import torch

        counts = [num_tokens(grid) for grid in self.grids]
        return tuple(part.contiguous() for part in torch.split(features, counts, dim=-2))

    def without_images(self, num_tokens: NumTokens, width: int, like: Tensor) -> tuple[Tensor, ...]:
        return ()


class PatchPadding(Padding[PackedBatch, LayoutT], Generic[LayoutT]):
    """Images of any size in one sequence: an image is added that no other attends to."""

    reads_lengths = True

    @property
    def smallest(self) -> int:
        return self.info.grid_multiple**2

    def fits(self, batch: PackedBatch, budget: int) -> bool:
        frames = sum(grid[0] for grid in batch.grids)
        return _patches(batch.grids) <= budget and frames < _room(budget)

    def padded(self, batch: PackedBatch, budget: int) -> PackedBatch:
        rows = self.info.grid_multiple
        missing = budget - _patches(batch.grids)
        more = ((1, rows, missing // rows),) if missing else ()
        return replace(batch, grids=batch.grids + more)

    def blank(self, batch: PackedBatch, budget: int) -> PackedBatch:
        pixels = batch.pixels.new_zeros(budget, *batch.pixels.shape[1:])
        return replace(self.padded(batch, budget), pixels=pixels)

    def fixed(self, layout: LayoutT, budget: int) -> LayoutT:
        return layout.with_fixed_segments(_room(budget))

    def cut(self, features: Tensor, batch: PackedBatch, num_tokens: NumTokens) -> Tensor:
        return features.narrow(-2, 0, sum(map(num_tokens, batch.grids)))


class PackedFamily(EncoderFamily[C, PackedBatch, LayoutT], Generic[C, LayoutT]):
    """A family whose images share one sequence, each at its own resolution.

    A subclass defines :meth:`stem_shapes`, :meth:`block_shapes`, :meth:`read`, :meth:`layout`, :meth:`stem`
    and :meth:`block_inputs`.
    """

    post_norm: ClassVar[str] = ""

    def info(self, encoder: C, resize: ResizeRule | None = None) -> VisionEncoderInfo:
        if resize is None:
            resize = self.resize_rule(encoder, self.processor_settings(encoder))
        info = VisionEncoderInfo.of(encoder, image_size=resize.largest_side, any_size=True)
        return replace(info, packed=True, max_frames=1, resize=resize)

    def preprocessor(self, encoder: C, settings: ProcessorSettings) -> ImagePreprocessor:
        from ..images.preprocess import ragged_preprocessor

        return ragged_preprocessor(settings, self.resize_rule(encoder, settings), encoder.num_channels)

    # --- running --------------------------------------------------------------------------------------

    def blank(self, info: VisionEncoderInfo, device: torch.device) -> PackedBatch:
        import torch

        side = info.grid_multiple
        pixels = torch.zeros(side * side, *self.patch_shape(info), device=device)
        return PackedBatch(pixels, ((1, side, side),))

    def patch_shape(self, info: VisionEncoderInfo) -> tuple[int, ...]:
        """Return the axes of one patch in a batch whose pixels have one row per patch."""
        return (info.num_channels * info.temporal_patch_size * info.patch_size**2,)

    @abstractmethod
    def layout(
        self, model: FromTransformers, batch: PackedBatch, device: torch.device, dtype: torch.dtype
    ) -> LayoutT:
        """Compute what the blocks need to know about the batch's grids; it is kept for equal grids."""

    @abstractmethod
    def stem(self, model: FromTransformers, pixels: Tensor, layout: LayoutT) -> Tensor:
        """Compute hidden state 0, with tokens in the order in which the blocks take them."""

    def embed(
        self, model: FromTransformers, batch: PackedBatch, layout: LayoutT
    ) -> tuple[Tensor, BlockInputs]:
        return self.stem(model, batch.pixels, layout), {}

    @abstractmethod
    def block_inputs(self, block: int, layout: LayoutT) -> BlockInputs:
        """Return the keyword arguments of one block, counted from 0."""

    def tokens(self, model: FromTransformers, hidden_states: Tensor, layout: LayoutT) -> Tensor:
        return hidden_states.flatten(0, -2)  # some blocks take the sequence as a batch of one


class PackedImagesFamily(PackedFamily[C, LayoutT], Generic[C, LayoutT]):
    """A packed family that takes whole images, padded at the bottom and the right."""

    def blank(self, info: VisionEncoderInfo, device: torch.device) -> PackedBatch:
        import torch

        side = info.patch_size * info.grid_multiple
        pixels = torch.zeros(1, info.num_channels, side, side, device=device)
        return PackedBatch(pixels, ((1, info.grid_multiple, info.grid_multiple),))

    def patch_tokens(self, convolution: FromTransformers, images: Tensor, grids: Sequence[Grid]) -> Tensor:
        """Embed the patches of the images as (tokens, width); pixels outside an image's grid are not read.

        Args:
            convolution: The Conv2d that cuts an image into patches, or an adapter around it.
            images: (images, channels, height, width).
            grids: Frames, rows and columns of the images' patches.
        """
        import torch

        channels, side = convolution.weight.shape[1:3]
        patches = [
            image[:, : rows * side, : columns * side]
            .reshape(channels, rows, side, columns, side)
            .permute(1, 3, 0, 2, 4)
            .reshape(rows * columns, channels, side, side)
            for image, (_, rows, columns) in zip(images, grids, strict=True)
        ]
        return embed_patches(convolution, torch.cat(patches))


def _patches(grids: Sequence[Grid]) -> int:
    return sum(map(prod, grids))


def _room(budget: int) -> int:
    """Return how many frames there is room for, with that of the padding."""
    return max(_FEWEST_SEGMENTS, budget // _TOKENS_A_SEGMENT)
