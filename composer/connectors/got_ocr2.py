"""GOT-OCR 2's connector."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders import Grid
from ..encoders.shapes import Shapes, below, linear
from ..schemas.connectors.got_ocr2 import GotOcr2ConnectorConfig
from .base import ImageOfTiles, TileConnector, parts, text_width, transformers_class
from .internvl import PROJECTOR

if TYPE_CHECKING:
    from torch import Tensor, nn


class GotOcr2Connector(TileConnector[GotOcr2ConnectorConfig]):
    """Two strided convolutions over the neck's channels, and a linear layer."""

    type = "got_ocr2"
    read_by: ClassVar = ("got_ocr2", "pp_chart2table")

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        return {"hidden_size": text_width(vlm)}

    def shapes(self) -> Shapes:
        channels, width = self.tower.width, self.config.hidden_size
        convolutions = {
            "conv_upsampler1.weight": (2 * channels, channels, 3, 3),
            "conv_upsampler2.weight": (width, 2 * channels, 3, 3),
        }
        return below(PROJECTOR, convolutions | linear("multimodal_projector", width, width))

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
        config = SimpleNamespace(
            vision_config=SimpleNamespace(output_channels=self.tower.width),
            text_config=SimpleNamespace(hidden_size=self.config.hidden_size),
        )
        return parts(multi_modal_projector=projector(config))

    def project(self, module: nn.Module, features: Tensor) -> Tensor:
        tiles, tokens, channels = features.shape
        side = round(tokens**0.5)
        rows: Tensor = module.get_submodule(PROJECTOR)(features.mT.reshape(tiles, channels, side, side))
        return rows
