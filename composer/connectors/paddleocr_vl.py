"""PaddleOCR-VL's connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, layer_norm, linear
from ..schemas.connectors.paddleocr_vl import PaddleOCRVLConnectorConfig
from .base import SquareConnector, parts, transformers_class

if TYPE_CHECKING:
    from torch import Tensor, nn


class PaddleOCRVLConnector(SquareConnector[PaddleOCRVLConnectorConfig]):
    """A norm on every patch, and two linear layers on every square. Patches come in raster order."""

    type = "paddleocr_vl"
    read_by: ClassVar = ("paddleocr_vl",)
    reads = "patches"
    projector = "projector"
    text_model_type = "paddleocr_vl_text"
    disk_names: ClassVar = {"mlp_AR.": "projector."}

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        if "text_config" in vlm:
            return super().fields_of(vlm)
        return {"hidden_size": vlm.get("hidden_size", 1024)}  # on the hub, the text's fields stand beside

    def shapes(self) -> Shapes:
        square = self.square_width
        layers = layer_norm("pre_norm", self.tower.width) | linear("linear_1", square, square)
        return below(self.projector, layers | linear("linear_2", square, self.config.hidden_size))

    def build(self) -> nn.Module:
        projector = transformers_class("paddleocr_vl.modeling_paddleocr_vl", "PaddleOCRProjector")
        config = self.vlm_config(vision={"spatial_merge_size": self.side})
        return parts(projector=projector(config))

    def project(self, module: nn.Module, tokens: Tensor, grids: Tensor) -> Tensor:
        rows: Tensor = module.get_submodule(self.projector)(tokens, grids)
        return rows
