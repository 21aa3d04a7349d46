"""Aya Vision's connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, layer_norm, linear
from ..schemas.connectors.aya_vision import AyaVisionConnectorConfig
from .base import parts, transformers_class
from .internvl import SquaresOfTokens

if TYPE_CHECKING:
    from torch import Tensor, nn


class AyaVisionConnector(SquaresOfTokens[AyaVisionConnectorConfig]):
    """Squares of tokens, a norm, and a gated MLP."""

    type = "aya_vision"
    read_by: ClassVar = ("aya_vision",)

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        fields = super().fields_of(vlm)
        return fields | {
            "intermediate_size": vlm.get("alignment_intermediate_size", fields["hidden_size"]),
            "downsample_factor": vlm.get("downsample_factor"),
            "layer_norm_eps": vlm.get("adapter_layer_norm_eps"),
        }

    @property
    def factor(self) -> int:
        return self.config.downsample_factor

    def shapes(self) -> Shapes:
        inner, width = self.config.intermediate_size, self.config.hidden_size
        layers = layer_norm("layernorm", self.square_width) | linear("linear_1", self.square_width, inner)
        return below(self.projector, layers | linear("linear_2", inner // 2, width))

    def build(self) -> nn.Module:
        projector = transformers_class("aya_vision.modeling_aya_vision", "AyaVisionMultiModalProjector")
        config = self.vlm_config(
            downsample_factor=self.factor,
            alignment_intermediate_size=self.config.intermediate_size,
            adapter_layer_norm_eps=self.config.layer_norm_eps,
        )
        return parts(multi_modal_projector=projector(config))

    def project(self, module: nn.Module, features: Tensor) -> Tensor:
        return super().project(module, features).flatten(1, 2)
