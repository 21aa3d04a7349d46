"""GOT-OCR 2's connector."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..encoders import Grid
from ..encoders.shapes import Shapes, below, linear
from ..schemas.connectors.got_ocr2 import GotOcr2ConnectorConfig
from .base import ImageOfTiles, TileConnector, parts, transformers_class

if TYPE_CHECKING:
    from torch import Tensor, nn


class GotOcr2Connector(TileConnector[GotOcr2ConnectorConfig]):
    """Two strided convolutions over the neck's channels, and a linear layer."""

    type = "got_ocr2"
    reads = "patches"
    takes_squares = True
    read_by: ClassVar = ("got_ocr2", "pp_chart2table")

    def shapes(self) -> Shapes:
        channels, width = self.tower.width, self.config.hidden_size
        convolutions = {
            "conv_upsampler1.weight": (2 * channels, channels, 3, 3),
            "conv_upsampler2.weight": (width, 2 * channels, 3, 3),
        }
        return below(self.projector, convolutions | linear("multimodal_projector", width, width))

    def num_tile_rows(self, grid: Grid) -> int:
        _, rows, columns = grid
        return -(-rows // 4) * -(-columns // 4)

    def flops(self, image: ImageOfTiles) -> int:
        _, rows, columns = image.grid
        channels, width = self.tower.width, self.config.hidden_size
        halves, quarters = -(-rows // 2) * -(-columns // 2), self.num_tile_rows(image.grid)
        products = halves * 9 * channels * 2 * channels + quarters * (
            9 * 2 * channels * width + width * width
        )
        return 2 * image.tiles.num_tiles * products

    def build(self) -> nn.Module:
        projector = transformers_class("got_ocr2.modeling_got_ocr2", "GotOcr2MultiModalProjector")
        config = self.vlm_config(vision={"output_channels": self.tower.width})
        return parts(multi_modal_projector=projector(config))

    def project(self, module: nn.Module, features: Tensor) -> Tensor:
        tiles, tokens, channels = features.shape
        side = round(tokens**0.5)
        return super().project(module, features.mT.reshape(tiles, channels, side, side))
