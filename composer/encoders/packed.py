"""The base classes of packed families, which take images of any size in one sequence."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Generic, Self

from ..images.resize import ResizeRule
from .base import BlockInputs, C, EncoderFamily, FromTransformers
from .batch import Batch, NumTokens
from .facts import Grid, VisionEncoderInfo

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..images.preprocess import ImagePreprocessor
    from .layout import Layout


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
            pixels = self.pixels[list(images)]
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


class PackedFamily(EncoderFamily[C, PackedBatch, "Layout"], Generic[C]):
    """A family whose images share one sequence, each at its own resolution.

    A subclass defines :meth:`stem_shapes`, :meth:`block_shapes`, :meth:`resize_rule`, :meth:`read`,
    :meth:`layout`, :meth:`stem` and :meth:`block_inputs`.
    """

    head: ClassVar[str] = ""
    """Path of the merger or the pooling head; empty if there is none."""
    post_norm: ClassVar[str] = ""

    def info(self, encoder: C, resize: ResizeRule | None = None) -> VisionEncoderInfo:
        return VisionEncoderInfo.of(
            encoder, packed_by=self.resize_rule(encoder) if resize is None else resize
        )

    @abstractmethod
    def resize_rule(self, encoder: C, processor: FromTransformers = None) -> ResizeRule:
        """Return how ``processor`` resizes images; None stands for the family's processor by default."""

    def preprocessor(self, encoder: C, folder: Path | None) -> ImagePreprocessor:
        from ..images.preprocess import RaggedPreprocessor
        from ..images.processors import load_image_processor, try_ragged

        rule = partial(self.resize_rule, encoder)
        processor = load_image_processor(
            self.image_processor_class(),
            self.image_processor_defaults(encoder),
            folder,
            try_out=partial(try_ragged, resize_rule=rule),
            settings=self.image_processor_settings(encoder),
        )
        return RaggedPreprocessor(processor, rule(processor), num_channels=encoder.num_channels)

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
    ) -> Layout:
        """Compute what the blocks need to know about the batch's grids; it is kept for equal grids."""

    @abstractmethod
    def stem(self, model: FromTransformers, pixels: Tensor, layout: Layout) -> Tensor:
        """Compute hidden state 0, with tokens in the order in which the blocks take them."""

    def embed(
        self, model: FromTransformers, batch: PackedBatch, layout: Layout
    ) -> tuple[Tensor, BlockInputs]:
        return self.stem(model, batch.pixels, layout), {}

    @abstractmethod
    def block_inputs(self, block: int, layout: Layout) -> BlockInputs:
        """Return the keyword arguments of one block, counted from 0."""


class PackedImagesFamily(PackedFamily[C], Generic[C]):
    """A packed family that takes whole images, padded at the bottom and the right."""

    def blank(self, info: VisionEncoderInfo, device: torch.device) -> PackedBatch:
        import torch

        side = info.patch_size * info.grid_multiple
        pixels = torch.zeros(1, info.num_channels, side, side, device=device)
        return PackedBatch(pixels, ((1, info.grid_multiple, info.grid_multiple),))

    def patch_tokens(self, convolution: FromTransformers, images: Tensor, grids: Sequence[Grid]) -> Tensor:
        """Embed the patches of the images as (tokens, width); pixels outside an image's grid are not read.

        Args:
            convolution: The Conv2d that cuts an image into patches.
            images: (images, channels, height, width).
            grids: Frames, rows and columns of the images' patches.
        """
        import torch
        from torch.nn.functional import linear

        weight = convolution.weight
        width, channels, side, _ = weight.shape
        patches = [
            image[:, : rows * side, : columns * side]
            .reshape(channels, rows, side, columns, side)
            .permute(1, 3, 0, 2, 4)
            .reshape(rows * columns, -1)
            for image, (_, rows, columns) in zip(images, grids, strict=True)
        ]
        # Patches do not overlap, so the convolution is one linear projection per patch.
        return linear(torch.cat(patches), weight.view(width, -1), convolution.bias)
