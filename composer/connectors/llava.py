"""LLaVA's connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ..encoders.shapes import Shapes, below, linear
from ..schemas.connectors.llava import LlavaConnectorConfig, LlavaFields
from .base import TileConnector, parts, transformers_class

if TYPE_CHECKING:
    from torch import nn

F = TypeVar("F", bound=LlavaFields)


class LlavaLayers(TileConnector[F], Generic[F]):
    """The two linear layers that LLaVA and its descendants share."""

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        return super().fields_of(vlm) | {
            "act": vlm.get("projector_hidden_act"),
            "bias": vlm.get("multimodal_projector_bias"),
        }

    def shapes(self) -> Shapes:
        width, bias = self.config.hidden_size, self.config.bias
        layers = linear("linear_1", self.tower.width, width, bias=bias)
        return below(self.projector, layers | linear("linear_2", width, width, bias=bias))

    def build(self) -> nn.Module:
        projector = transformers_class("llava.modeling_llava", "LlavaMultiModalProjector")
        config = self.vlm_config(
            vision={"hidden_size": self.tower.width // self.tower.num_layers},
            vision_feature_layer=list(range(self.tower.num_layers)),
            projector_hidden_act=self.config.act,
            multimodal_projector_bias=self.config.bias,
        )
        return parts(multi_modal_projector=projector(config))


class LlavaConnector(LlavaLayers[LlavaConnectorConfig]):
    """LLaVA's: two linear layers on every token."""

    type = "llava"
    row_per_token: ClassVar = True
    read_by: ClassVar = ("llava", "video_llava")
