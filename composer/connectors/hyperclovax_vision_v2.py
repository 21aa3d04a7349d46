"""HyperCLOVA X Vision's connector."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..encoders.shapes import Shapes, linear
from ..schemas.connectors.hyperclovax_vision_v2 import HyperClovaXConnectorConfig
from .base import TokenConnector, parts

if TYPE_CHECKING:
    from torch import nn


class HyperClovaXConnector(TokenConnector[HyperClovaXConnectorConfig]):
    """One linear layer on every token."""

    type = "hyperclovax_vision_v2"
    read_by: ClassVar = ("hyperclovax_vision_v2",)
    projector = "projector"
    text_model_type = "hyperclovax"
    disk_names: ClassVar = {"vision_projector.": "projector."}

    def shapes(self) -> Shapes:
        return linear("projector", self.tower.width, self.config.hidden_size)

    def build(self) -> nn.Module:
        from torch import nn

        return parts(projector=nn.Linear(self.tower.width, self.config.hidden_size))
