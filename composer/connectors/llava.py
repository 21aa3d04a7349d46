"""LLaVA's connector."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ..encoders.shapes import Shapes, below, linear
from ..schemas.connectors.llava import LlavaConnectorConfig, LlavaFields
from .base import TileConnector, parts, text_width, transformers_class

if TYPE_CHECKING:
    from torch import Tensor, nn

F = TypeVar("F", bound=LlavaFields)
PROJECTOR = "multi_modal_projector"


class LlavaLayers(TileConnector[F], Generic[F]):
    """The two linear layers that LLaVA and its descendants share."""

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        fields = {"hidden_size": text_width(vlm)}
        for ours, theirs in (("act", "projector_hidden_act"), ("bias", "multimodal_projector_bias")):
            if theirs in vlm:
                fields[ours] = vlm[theirs]
        return fields

    def shapes(self) -> Shapes:
        width, bias = self.config.hidden_size, self.config.bias
        layers = linear("linear_1", self.tower.width, width, bias=bias)
        return below(PROJECTOR, layers | linear("linear_2", width, width, bias=bias))

    def build(self) -> nn.Module:
        projector = transformers_class("llava.modeling_llava", "LlavaMultiModalProjector")
        return parts(multi_modal_projector=projector(self.vlm_config()))

    def vlm_config(self) -> SimpleNamespace:
        """Return what transformers' projector reads of its VLM's config."""
        return SimpleNamespace(
            vision_config=SimpleNamespace(hidden_size=self.tower.width // self.tower.num_layers),
            text_config=SimpleNamespace(hidden_size=self.config.hidden_size),
            vision_feature_layer=list(range(self.tower.num_layers)),
            projector_hidden_act=self.config.act,
            multimodal_projector_bias=self.config.bias,
        )

    def project(self, module: nn.Module, features: Tensor) -> Tensor:
        rows: Tensor = module.get_submodule(PROJECTOR)(features)
        return rows


class LlavaConnector(LlavaLayers[LlavaConnectorConfig]):
    """LLaVA's: two linear layers on every token."""

    type = "llava"
    read_by: ClassVar = ("llava", "video_llava")
