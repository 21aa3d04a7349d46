"""LFM3-VL's connector."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, layer_norm, linear, matrix_values
from ..schemas.connectors.lfm3_vl import Lfm3VlConnectorConfig
from .base import ImageOfTiles, TokenConnector, parts, text_width, transformers_class
from .llava import PROJECTOR

if TYPE_CHECKING:
    from torch import Tensor, nn


class Lfm3VlConnector(TokenConnector[Lfm3VlConnectorConfig]):
    """A norm on every patch, and two linear layers on every square."""

    type = "lfm3_vl"
    read_by: ClassVar = ("lfm3_vl",)

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        fields = {
            "hidden_size": text_width(vlm, "lfm3"),
            "intermediate_size": vlm.get("projector_hidden_size"),
            "act": vlm.get("projector_hidden_act"),
            "bias": vlm.get("projector_bias"),
        }
        return {key: value for key, value in fields.items() if value is not None}

    @property
    def side(self) -> int:
        """Patches along a side of a square."""
        return self.tower.info.grid_multiple

    @property
    def tokens_per_row(self) -> int:
        return self.side**2

    def shapes(self) -> Shapes:
        inner, bias = self.config.intermediate_size, self.config.bias
        layers = layer_norm("layer_norm", self.tower.width)
        layers |= linear("linear_1", self.tower.width * self.tokens_per_row, inner, bias=bias)
        return below(PROJECTOR, layers | linear("linear_2", inner, self.config.hidden_size, bias=bias))

    def build(self) -> nn.Module:
        projector = transformers_class("lfm3_vl.modeling_lfm3_vl", "Lfm3VlMultiModalProjector")
        config = SimpleNamespace(
            vision_config=SimpleNamespace(hidden_size=self.tower.width, spatial_merge_size=self.side),
            text_config=SimpleNamespace(hidden_size=self.config.hidden_size),
            projector_hidden_size=self.config.intermediate_size,
            projector_hidden_act=self.config.act,
            projector_bias=self.config.bias,
        )
        return parts(multi_modal_projector=projector(config))

    def flops(self, image: ImageOfTiles) -> int:
        return 2 * self.num_rows(image) * matrix_values(self.shapes())

    def project(self, module: nn.Module, tokens: Tensor, grids: Tensor) -> Tensor:
        rows: Tensor = module.get_submodule(PROJECTOR)(tokens)
        return rows
