"""Idefics3's and SmolVLM's connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, linear
from ..schemas.connectors.idefics3 import Idefics3ConnectorConfig
from .base import parts, transformers_class
from .internvl import SquaresOfTokens

if TYPE_CHECKING:
    from torch import nn


class Idefics3Connector(SquaresOfTokens[Idefics3ConnectorConfig]):
    """Squares of tokens and a linear layer."""

    type = "idefics3"
    read_by: ClassVar = ("idefics3", "smolvlm")
    projector = "connector"

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        return super().fields_of(vlm) | {"scale_factor": vlm.get("scale_factor")}

    @property
    def factor(self) -> int:
        return self.config.scale_factor

    def shapes(self) -> Shapes:
        return linear(
            "connector.modality_projection.proj", self.square_width, self.config.hidden_size, bias=False
        )

    def build(self) -> nn.Module:
        connector = transformers_class("idefics3.modeling_idefics3", "Idefics3Connector")
        config = self.vlm_config(
            scale_factor=self.factor,
        )
        return parts(connector=connector(config))
