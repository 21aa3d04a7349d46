"""HyperCLOVA X Vision's connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, linear
from ..schemas.connectors.hyperclovax_vision_v2 import HyperClovaXConnectorConfig
from .base import TokenConnector, parts, text_width

if TYPE_CHECKING:
    from torch import Tensor, nn


class HyperClovaXConnector(TokenConnector[HyperClovaXConnectorConfig]):
    """One linear layer on every token."""

    type = "hyperclovax_vision_v2"
    read_by: ClassVar = ("hyperclovax_vision_v2",)
    disk_names: ClassVar = {"vision_projector.": "projector."}

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        return {"hidden_size": text_width(vlm, "hyperclovax")}

    def shapes(self) -> Shapes:
        return linear("projector", self.tower.width, self.config.hidden_size)

    def build(self) -> nn.Module:
        from torch import nn

        return parts(projector=nn.Linear(self.tower.width, self.config.hidden_size))

    def project(self, module: nn.Module, tokens: Tensor, grids: Tensor) -> Tensor:
        rows: Tensor = module.get_submodule("projector")(tokens)
        return rows
