"""LFM3-VL's connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, layer_norm, linear
from ..schemas.connectors.lfm3_vl import Lfm3VlConnectorConfig
from .base import SquareConnector, parts, transformers_class

if TYPE_CHECKING:
    from torch import nn


class Lfm3VlConnector(SquareConnector[Lfm3VlConnectorConfig]):
    """A norm on every patch, and two linear layers on every square."""

    type = "lfm3_vl"
    read_by: ClassVar = ("lfm3_vl",)
    text_model_type = "lfm3"

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        return super().fields_of(vlm) | {
            "intermediate_size": vlm.get("projector_hidden_size"),
            "act": vlm.get("projector_hidden_act"),
            "bias": vlm.get("projector_bias"),
        }

    def shapes(self) -> Shapes:
        inner, bias = self.config.intermediate_size, self.config.bias
        layers = layer_norm("layer_norm", self.tower.width)
        layers |= linear("linear_1", self.square_width, inner, bias=bias)
        return below(self.projector, layers | linear("linear_2", inner, self.config.hidden_size, bias=bias))

    def build(self) -> nn.Module:
        projector = transformers_class("lfm3_vl.modeling_lfm3_vl", "Lfm3VlMultiModalProjector")
        config = self.vlm_config(
            vision={"spatial_merge_size": self.side},
            projector_hidden_size=self.config.intermediate_size,
            projector_hidden_act=self.config.act,
            projector_bias=self.config.bias,
        )
        return parts(multi_modal_projector=projector(config))
