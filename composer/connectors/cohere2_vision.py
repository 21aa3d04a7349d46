"""Cohere 2 Vision's connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, linear
from ..schemas.connectors.cohere2_vision import Cohere2VisionConnectorConfig
from .base import parts, transformers_class
from .internvl import SquaresOfTokens

if TYPE_CHECKING:
    from torch import Tensor, nn


class Cohere2VisionConnector(SquaresOfTokens[Cohere2VisionConnectorConfig]):
    """Squares of tokens and a gated MLP."""

    type = "cohere2_vision"
    read_by: ClassVar = ("cohere2_vision",)

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        return super().fields_of(vlm) | {
            "intermediate_size": vlm.get("alignment_intermediate_size"),
            "downsample_factor": vlm.get("downsample_factor"),
        }

    @property
    def factor(self) -> int:
        return self.config.downsample_factor

    def shapes(self) -> Shapes:
        inner, width = self.config.intermediate_size, self.config.hidden_size
        layers = linear("linear_1", self.square_width, inner) | linear("linear_2", inner // 2, width)
        return below(self.projector, layers)

    def build(self) -> nn.Module:
        projector = transformers_class(
            "cohere2_vision.modeling_cohere2_vision", "Cohere2VisionMultiModalProjector"
        )
        config = self.vlm_config(
            downsample_factor=self.factor,
            alignment_intermediate_size=self.config.intermediate_size,
        )
        return parts(multi_modal_projector=projector(config))

    def project(self, module: nn.Module, features: Tensor) -> Tensor:
        return super().project(module, features).flatten(1, 2)
