"""Cosmos 3 Edge's connector."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, layer_norm, linear
from ..schemas.connectors.cosmos3_edge import Cosmos3EdgeConnectorConfig
from .base import ImageOfTiles, TokenConnector, parts, text_width, transformers_class

if TYPE_CHECKING:
    from torch import Tensor, nn

PROJECTOR = "projector"


class Cosmos3EdgeConnector(TokenConnector[Cosmos3EdgeConnectorConfig]):
    """A norm on every patch, and two linear layers on every square. The tower's patches stand by squares."""

    type = "cosmos3_edge"
    read_by: ClassVar = ("cosmos3_edge",)

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        fields = {"hidden_size": text_width(vlm, "cosmos3_edge_text")}
        inner = vlm.get("projector_hidden_size")
        return fields if inner is None else fields | {"projector_hidden_size": inner}

    @property
    def tokens_per_row(self) -> int:
        return self.tower.info.grid_multiple**2

    def shapes(self) -> Shapes:
        inner, square = self.config.projector_hidden_size, self.tower.width * self.tokens_per_row
        layers = layer_norm("norm", self.tower.width) | linear("linear_fc1", square, inner)
        return below(PROJECTOR, layers | linear("linear_fc2", inner, self.config.hidden_size))

    def build(self) -> nn.Module:
        merger = transformers_class("cosmos3_edge.modeling_cosmos3_edge", "Cosmos3EdgePatchMerger")
        vision = SimpleNamespace(
            hidden_size=self.tower.width, spatial_merge_size=self.tower.info.grid_multiple
        )
        config = SimpleNamespace(
            vision_config=vision,
            text_config=SimpleNamespace(hidden_size=self.config.hidden_size),
            projector_hidden_size=self.config.projector_hidden_size,
        )
        return parts(projector=merger(config))

    def flops(self, image: ImageOfTiles) -> int:
        square = self.tower.width * self.tokens_per_row
        inner = self.config.projector_hidden_size
        return 2 * self.num_rows(image) * inner * (square + self.config.hidden_size)

    def project(self, module: nn.Module, tokens: Tensor, grids: Tensor) -> Tensor:
        rows: Tensor = module.get_submodule(PROJECTOR)(tokens)
        return rows
