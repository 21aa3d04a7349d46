"""PaddleOCR-VL's connector."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, layer_norm, linear
from ..schemas.connectors.paddleocr_vl import PaddleOCRVLConnectorConfig
from .base import GridConnector, ImageOfTiles, parts, text_width, transformers_class

if TYPE_CHECKING:
    from torch import Tensor, nn

PROJECTOR = "projector"


class PaddleOCRVLConnector(GridConnector[PaddleOCRVLConnectorConfig]):
    """A norm on every patch, and two linear layers on every square. Patches come in raster order."""

    type = "paddleocr_vl"
    read_by: ClassVar = ("paddleocr_vl",)
    disk_names: ClassVar = {"mlp_AR.": f"{PROJECTOR}."}

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        if "text_config" in vlm:
            return {"hidden_size": text_width(vlm, "paddleocr_vl_text")}
        return {"hidden_size": vlm.get("hidden_size", 1024)}  # on the hub, the text's fields stand beside

    @property
    def square_width(self) -> int:
        """Features of all patches of a square."""
        return self.tower.width * self.tower.info.grid_multiple**2

    def shapes(self) -> Shapes:
        square = self.square_width
        layers = layer_norm("pre_norm", self.tower.width) | linear("linear_1", square, square)
        return below(PROJECTOR, layers | linear("linear_2", square, self.config.hidden_size))

    def build(self) -> nn.Module:
        projector = transformers_class("paddleocr_vl.modeling_paddleocr_vl", "PaddleOCRProjector")
        merge = self.tower.info.grid_multiple
        config = SimpleNamespace(
            vision_config=SimpleNamespace(hidden_size=self.tower.width, spatial_merge_size=merge),
            text_config=SimpleNamespace(hidden_size=self.config.hidden_size),
        )
        return parts(projector=projector(config))

    def num_rows(self, image: ImageOfTiles) -> int:
        return self.tower.num_tokens(image.grid) // self.tower.info.grid_multiple**2

    def flops(self, image: ImageOfTiles) -> int:
        square = self.square_width
        return 2 * self.num_rows(image) * square * (square + self.config.hidden_size)

    def project(self, module: nn.Module, tokens: Tensor, grids: Tensor) -> Tensor:
        rows: Tensor = module.get_submodule(PROJECTOR)(tokens, grids)
        return rows
