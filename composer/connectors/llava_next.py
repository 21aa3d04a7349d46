"""LLaVA-NeXT's connector: LLaVA's layers, and the tiles of a padded canvas as one image again."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Generic

from ..encoders.shapes import Shapes
from ..errors import InputError
from ..images.tiling import TilePlan
from ..schemas.connectors.llava_next import LlavaNextConnectorConfig
from .base import ImageOfTiles
from .llava import F, LlavaLayers

if TYPE_CHECKING:
    from torch import Tensor, nn


class AnyResConnector(LlavaLayers[F], Generic[F]):
    """The image whole; then its tiles without padding, a learned row behind each line.

    An image that is not cut has one learned row behind it. Source: ``LlavaNextModel.pack_image_features``.
    """

    def shapes(self) -> Shapes:
        return super().shapes() | {"image_newline": (self.config.hidden_size,)}

    def build(self) -> nn.Module:
        import torch

        width = self.config.hidden_size
        module = super().build()
        module.image_newline = torch.nn.Parameter(torch.randn(width) / width**0.5)
        return module

    def num_rows(self, image: ImageOfTiles) -> int:
        whole, (_, rows, columns) = self.num_tile_rows(image.grid), image.grid
        if image.tiles.rows and whole != rows * columns:
            raise InputError(
                f"the connector {self.type!r} puts tiles of {rows}x{columns} patches together, and the tower "
                f"gives {whole} tokens for each; set feature_select_strategy: default"
            )
        lines, length = self.shape_of_lines(image)
        return whole + (lines * (length + 1) if image.tiles.rows else 1)

    def shape_of_lines(self, image: ImageOfTiles) -> tuple[int, int]:
        """Return how many lines of how many rows the tiles become, without the learned rows."""
        return unpadded(image)[2:]

    def join(self, module: nn.Module, tiles: Tensor, image: ImageOfTiles) -> Tensor:
        import torch

        newline = module.get_parameter("image_newline").to(tiles.dtype)
        if not image.tiles.rows:
            return torch.cat((tiles[0], newline[None]))
        rows, columns = image.tiles.rows, image.tiles.columns
        _, height, width = image.grid
        canvas = tiles[1:].reshape(rows, columns, height, width, -1)
        canvas = canvas.transpose(1, 2).flatten(0, 1).flatten(1, 2)
        top, left, lines, length = unpadded(image)
        shown = self.resized(canvas[top : top + lines, left : left + length], image)
        ends = newline.expand(shown.shape[0], 1, -1)
        return torch.cat((tiles[0], torch.cat((shown, ends), dim=1).flatten(0, 1)))

    def resized(self, lines: Tensor, image: ImageOfTiles) -> Tensor:
        """Return the lines (lines, length, width) in the shape of :meth:`shape_of_lines`."""
        return lines


class LlavaNextConnector(AnyResConnector[LlavaNextConnectorConfig]):
    """LLaVA-NeXT's: every line of the tiles as it is."""

    type = "llava_next"
    read_by: ClassVar = ("llava_next", "llava_next_video")
    implied = ("spatial_pool_mode", "spatial_pool_stride", "spatial_pool_out_channels")  # of clips


def unpadded(image: ImageOfTiles) -> tuple[int, int, int, int]:
    """Return the first line, the first column, the number of lines and their length in a canvas of patches
    without the lines, or the columns, that show only padding. Source: transformers' ``unpad_image``."""
    tiles: TilePlan = image.tiles
    _, height, width = image.grid
    lines, length = tiles.rows * height, tiles.columns * width
    if not lines:
        return 0, 0, 0, 0
    # In this order, and rounded so, because the processor's and the model's floats are.
    if tiles.width / tiles.height > length / lines:
        top = (lines - int(round(tiles.height * (length / tiles.width), 7))) // 2
        return top, 0, lines - 2 * top, length
    left = (length - int(round(tiles.width * (lines / tiles.height), 7))) // 2
    return 0, left, lines, length - 2 * left
