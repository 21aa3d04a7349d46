"""Idefics3's and SmolVLM's connector."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, linear
from ..schemas.connectors.idefics3 import Idefics3ConnectorConfig
from .base import parts, text_width, transformers_class
from .internvl import SquaresOfTokens

if TYPE_CHECKING:
    from torch import Tensor, nn


class Idefics3Connector(SquaresOfTokens[Idefics3ConnectorConfig]):
    """Squares of tokens and a linear layer."""

    type = "idefics3"
    read_by: ClassVar = ("idefics3", "smolvlm")

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        fields = {"hidden_size": text_width(vlm), "scale_factor": vlm.get("scale_factor")}
        return {key: value for key, value in fields.items() if value is not None}

    @property
    def factor(self) -> int:
        return self.config.scale_factor

    def shapes(self) -> Shapes:
        return linear(
            "connector.modality_projection.proj", self.square_width, self.config.hidden_size, bias=False
        )

    def build(self) -> nn.Module:
        connector = transformers_class("idefics3.modeling_idefics3", "Idefics3Connector")
        config = SimpleNamespace(
            vision_config=SimpleNamespace(hidden_size=self.tower.width),
            text_config=SimpleNamespace(hidden_size=self.config.hidden_size),
            scale_factor=self.factor,
        )
        return parts(connector=connector(config))

    def project(self, module: nn.Module, features: Tensor) -> Tensor:
        rows: Tensor = module.get_submodule("connector")(features)
        return rows
