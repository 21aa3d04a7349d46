"""VipLlava's connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, layer_norm, linear
from ..schemas.connectors.vipllava import VipLlavaConnectorConfig
from .base import TileConnector, parts, transformers_class

if TYPE_CHECKING:
    from torch import nn


class VipLlavaConnector(TileConnector[VipLlavaConnectorConfig]):
    """A norm and two linear layers on every token."""

    type = "vipllava"
    row_per_token: ClassVar = True
    read_by: ClassVar = ("vipllava",)

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        return super().fields_of(vlm) | {
            "act": vlm.get("projector_hidden_act"),
            "layer_norm_eps": vlm.get("projector_layernorm_eps"),
        }

    def shapes(self) -> Shapes:
        inputs, width = self.tower.width, self.config.hidden_size
        layers = layer_norm("projector_layernorm", inputs) | linear("linear_1", inputs, width)
        return below(self.projector, layers | linear("linear_2", width, width))

    def build(self) -> nn.Module:
        projector = transformers_class("vipllava.modeling_vipllava", "VipLlavaMultiModalProjector")
        config = self.vlm_config(
            vision={"hidden_size": self.tower.width // self.tower.num_layers},
            vision_feature_layer=list(range(self.tower.num_layers)),
            projector_hidden_act=self.config.act,
            projector_layernorm_eps=self.config.layer_norm_eps,
        )
        return parts(multi_modal_projector=projector(config))
