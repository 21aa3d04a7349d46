"""Llama 4's connector."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, linear
from ..schemas.connectors.llama4 import Llama4ConnectorConfig
from .base import TileConnector, parts, text_width, transformers_class
from .llava import PROJECTOR

if TYPE_CHECKING:
    from torch import Tensor, nn


class Llama4Connector(TileConnector[Llama4ConnectorConfig]):
    """One linear layer on every token of every tile."""

    type = "llama4"
    read_by: ClassVar = ("llama4",)

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        return {"hidden_size": text_width(vlm)}

    def shapes(self) -> Shapes:
        return below(PROJECTOR, linear("linear_1", self.tower.width, self.config.hidden_size, bias=False))

    def build(self) -> nn.Module:
        projector = transformers_class("llama4.modeling_llama4", "Llama4MultiModalProjector")
        config = SimpleNamespace(
            vision_config=SimpleNamespace(vision_output_dim=self.tower.width),
            text_config=SimpleNamespace(hidden_size=self.config.hidden_size),
        )
        return parts(multi_modal_projector=projector(config))

    def project(self, module: nn.Module, features: Tensor) -> Tensor:
        rows: Tensor = module.get_submodule(PROJECTOR)(features)
        return rows
