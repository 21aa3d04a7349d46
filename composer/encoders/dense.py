"""The base class of dense families, which take images of one size as a batch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING, Generic, Self

from ..errors import InputError
from ..images.resize import ResizeRule
from ..images.settings import ProcessorSettings
from .aliases import BlockInputs, FromTransformers
from .base import EncoderFamily
from .batch import NumTokens, StackedBatch, take_rows
from .facts import Grid, VisionEncoderInfo
from .inputs import check_pixels, refuse_unknown
from .padding import Padding
from .processing import C
from .reference import Sample

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..images.preprocess import ImagePreprocessor
    from .reference import Preprocess


@dataclass(frozen=True, eq=False)
class DenseBatch(StackedBatch):
    """Images of one size.

    Attributes:
        pixels: (images, channels, height, width).
        patch_size: Side of a patch; pixels that do not fill one are cut off.
    """

    pixels: Tensor
    patch_size: int

    @property
    def grids(self) -> tuple[Grid, ...]:
        return (self.grid,) * len(self.pixels)

    @property
    def grid(self) -> Grid:
        """Frames, patch rows and patch columns of each image."""
        rows, columns = (side // self.patch_size for side in self.pixels.shape[2:])
        return 1, rows, columns

    def to(self, device: torch.device, dtype: torch.dtype) -> Self:
        if self.pixels.device != device:
            raise InputError(
                f"pixel_values are on {self.pixels.device}, but the tower is on {device}; move them there"
            )
        return replace(self, pixels=self.pixels.to(dtype))

    def take(self, images: Sequence[int]) -> Self:
        return replace(self, pixels=take_rows(self.pixels, images))

    def split(self, features: Tensor, num_tokens: NumTokens) -> Tensor:
        return features.contiguous()

    def without_images(self, num_tokens: NumTokens, width: int, like: Tensor) -> Tensor:
        return like.new_empty((0, num_tokens(self.grid), width))


class ImagePadding(Padding[DenseBatch, None]):
    """Images of one size: black images are added."""

    @property
    def smallest(self) -> int:
        return prod(self.info.grid_of_pixels(self.info.image_size, self.info.image_size))

    def fits(self, batch: DenseBatch, budget: int) -> bool:
        return len(batch) * self.smallest <= budget

    def padded(self, batch: DenseBatch, budget: int) -> DenseBatch:
        return batch

    def blank(self, batch: DenseBatch, budget: int) -> DenseBatch:
        images = budget // self.smallest
        return replace(batch, pixels=batch.pixels.new_zeros(images, *batch.pixels.shape[1:]))

    def fixed(self, layout: None, budget: int) -> None:
        return None

    def cut(self, features: Tensor, batch: DenseBatch, num_tokens: NumTokens) -> Tensor:
        return features[: len(batch)]


class DenseFamily(EncoderFamily[C, DenseBatch, None], Generic[C]):
    """A family that takes images of one size as a batch.

    A subclass defines :meth:`stem_shapes`, :meth:`block_shapes` and :meth:`stem`.
    """

    def any_size(self, encoder: C) -> bool:
        """Return whether the encoder takes ``pixel_values`` of other sizes than ``image_size``."""
        return False

    def info(self, encoder: C, resize: ResizeRule | None = None) -> VisionEncoderInfo:
        if resize is None:
            resize = self.resize_rule(encoder, self.processor_settings(encoder))
        info = VisionEncoderInfo.of(encoder, image_size=encoder.image_size, any_size=self.any_size(encoder))
        return replace(info, max_frames=1, resize=resize)

    def preprocessor(self, encoder: C, settings: ProcessorSettings) -> ImagePreprocessor:
        from ..images.preprocess import dense_preprocessor

        side = None if self.any_size(encoder) else encoder.image_size
        return dense_preprocessor(settings, self.resize_rule(encoder, settings), encoder.num_channels, side)

    # --- running --------------------------------------------------------------------------------------

    @abstractmethod
    def stem(self, model: FromTransformers, pixel_values: Tensor) -> tuple[Tensor, BlockInputs]:
        """Run everything before the first block.

        Args:
            model: transformers' module.
            pixel_values: (images, channels, height, width), in the dtype of the parameters.

        Returns:
            Hidden state 0 as the blocks take it, usually (images, tokens, hidden_size), and keyword arguments
            that are the same for all blocks.
        """

    def read(
        self, model: FromTransformers, info: VisionEncoderInfo, inputs: Mapping[str, object]
    ) -> DenseBatch:
        """Read ``pixel_values`` (images, channels, height, width), floating point."""
        refuse_unknown(info.model_type, inputs, ("pixel_values",))
        pixels = check_pixels("pixel_values", inputs.get("pixel_values"))
        shape = tuple(pixels.shape)
        if len(shape) != 4 or shape[1] != info.num_channels:
            raise InputError(
                f"pixel_values must be (images, {info.num_channels}, height, width), not {shape}"
            )
        side = info.image_size
        if not info.any_size and shape[2:] != (side, side):
            raise InputError(
                f"pixel_values are {shape[3]}x{shape[2]} pixels, but this encoder takes {side}x{side} only; "
                "encoder.preprocess(images) resizes them"
            )
        info.grid_of_pixels(shape[3], shape[2])  # raises if the pixels do not fill a patch
        return DenseBatch(pixels, info.patch_size)

    def padding(self, info: VisionEncoderInfo) -> ImagePadding | None:
        return ImagePadding(info)

    def blank(self, info: VisionEncoderInfo, device: torch.device) -> DenseBatch:
        import torch

        side = info.image_size
        return DenseBatch(torch.zeros(1, info.num_channels, side, side, device=device), info.patch_size)

    def embed(self, model: FromTransformers, batch: DenseBatch, layout: None) -> tuple[Tensor, BlockInputs]:
        return self.stem(model, batch.pixels)

    def join(self, images: Sequence[Tensor]) -> Tensor:
        import torch

        return torch.stack(list(images))

    def samples(self, info: VisionEncoderInfo, preprocess: Preprocess) -> list[Sample]:
        return [_sample(info, info.image_size, info.image_size) for _ in range(2)]

    def samples_alone(self, info: VisionEncoderInfo) -> list[Sample]:
        if not info.any_size:
            return []
        side = info.patch_size
        sizes = ((side, side), (3 * side, 2 * side), (2 * side + 1, 5 * side - 1))
        return [_sample(info, *size) for size in sizes]


def _sample(info: VisionEncoderInfo, width: int, height: int) -> Sample:
    import torch

    return Sample(
        {"pixel_values": torch.randn(1, info.num_channels, height, width)}, (width, height, 1), resized=True
    )
