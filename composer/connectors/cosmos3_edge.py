"""Cosmos 3 Edge's connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, layer_norm, linear
from ..schemas.connectors.cosmos3_edge import Cosmos3EdgeConnectorConfig
from .base import SquareConnector, parts, transformers_class

if TYPE_CHECKING:
    from torch import nn


class Cosmos3EdgeConnector(SquareConnector[Cosmos3EdgeConnectorConfig]):
    """A norm on every patch, and two linear layers on every square. The tower's patches stand by squares."""

    type = "cosmos3_edge"
    read_by: ClassVar = ("cosmos3_edge",)
    projector = "projector"
    text_model_type = "cosmos3_edge_text"

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        return super().fields_of(vlm) | {"projector_hidden_size": vlm.get("projector_hidden_size")}

    def shapes(self) -> Shapes:
        inner = self.config.projector_hidden_size
        layers = layer_norm("norm", self.tower.width) | linear("linear_fc1", self.square_width, inner)
        return below(self.projector, layers | linear("linear_fc2", inner, self.config.hidden_size))

    def build(self) -> nn.Module:
        merger = transformers_class("cosmos3_edge.modeling_cosmos3_edge", "Cosmos3EdgePatchMerger")
        config = self.vlm_config(
            vision={"spatial_merge_size": self.side},
            projector_hidden_size=self.config.projector_hidden_size,
        )
        return parts(projector=merger(config))
