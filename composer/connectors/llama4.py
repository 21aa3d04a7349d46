"""Llama 4's connector."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..encoders.shapes import Shapes, below, linear
from ..schemas.connectors.llama4 import Llama4ConnectorConfig
from .base import TileConnector, parts, transformers_class

if TYPE_CHECKING:
    from torch import nn


class Llama4Connector(TileConnector[Llama4ConnectorConfig]):
    """One linear layer on every token of every tile."""

    type = "llama4"
    row_per_token: ClassVar = True
    read_by: ClassVar = ("llama4",)

    def shapes(self) -> Shapes:
        return below(
            self.projector, linear("linear_1", self.tower.width, self.config.hidden_size, bias=False)
        )

    def build(self) -> nn.Module:
        projector = transformers_class("llama4.modeling_llama4", "Llama4MultiModalProjector")
        config = self.vlm_config(vision={"vision_output_dim": self.tower.width})
        return parts(multi_modal_projector=projector(config))
