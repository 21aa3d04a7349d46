"""Cohere 2 Vision's connector."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, linear
from ..schemas.connectors.cohere2_vision import Cohere2VisionConnectorConfig
from .base import parts, text_width, transformers_class
from .internvl import PROJECTOR, SquaresOfTokens

if TYPE_CHECKING:
    from torch import Tensor, nn


class Cohere2VisionConnector(SquaresOfTokens[Cohere2VisionConnectorConfig]):
    """Squares of tokens and a gated MLP."""

    type = "cohere2_vision"
    read_by: ClassVar = ("cohere2_vision",)

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        fields = {
            "hidden_size": text_width(vlm),
            "intermediate_size": vlm.get("alignment_intermediate_size"),
            "downsample_factor": vlm.get("downsample_factor"),
        }
        return {key: value for key, value in fields.items() if value is not None}

    @property
    def factor(self) -> int:
        return self.config.downsample_factor

    def shapes(self) -> Shapes:
        inner, width = self.config.intermediate_size, self.config.hidden_size
        layers = linear("linear_1", self.square_width, inner) | linear("linear_2", inner // 2, width)
        return below(PROJECTOR, layers)

    def build(self) -> nn.Module:
        projector = transformers_class(
            "cohere2_vision.modeling_cohere2_vision", "Cohere2VisionMultiModalProjector"
        )
        config = SimpleNamespace(
            vision_config=SimpleNamespace(hidden_size=self.tower.width),
            text_config=SimpleNamespace(hidden_size=self.config.hidden_size),
            downsample_factor=self.factor,
            alignment_intermediate_size=self.config.intermediate_size,
        )
        return parts(multi_modal_projector=projector(config))

    def project(self, module: nn.Module, features: Tensor) -> Tensor:
        rows: Tensor = module.get_submodule(PROJECTOR)(features)
        return rows.flatten(1, 2)
