"""MiniMax-M3-VL's connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, linear
from ..schemas.connectors.minimax_m3_vl import MiniMaxM3VLConnectorConfig
from .base import ImageOfTiles, SquareConnector, parts, transformers_class

if TYPE_CHECKING:
    from torch import nn


class MiniMaxM3VLConnector(SquareConnector[MiniMaxM3VLConnectorConfig]):
    """Two linear layers on every patch, then two on every square. The tower's patches stand by squares."""

    type = "minimax_m3_vl"
    read_by: ClassVar = ("minimax_m3_vl",)
    text_model_type = "minimax_m3_vl_text"
    implied = ("merged_hidden_size",)
    disk_names: ClassVar = {"patch_merge_mlp.": "multi_modal_projector.merge_"}

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        return super().fields_of(vlm) | {"projector_hidden_size": vlm.get("projector_hidden_size")}

    def shapes(self) -> Shapes:
        width, inner = self.config.hidden_size, self.config.projector_hidden_size
        layers = linear("linear_1", self.tower.width, inner) | linear("linear_2", inner, width)
        layers |= linear("merge_linear_1", width * self.side**2, inner)
        return below(self.projector, layers | linear("merge_linear_2", inner, width))

    def build(self) -> nn.Module:
        projector = transformers_class(
            "minimax_m3_vl.modeling_minimax_m3_vl", "MiniMaxM3VLMultiModalProjector"
        )
        config = self.vlm_config(
            vision={"spatial_merge_size": self.side},
            projector_hidden_size=self.config.projector_hidden_size,
            merged_hidden_size=self.config.hidden_size * self.side**2,
        )
        return parts(multi_modal_projector=projector(config))

    def flops(self, image: ImageOfTiles) -> int:
        tokens, inner = self.tower.num_tokens(image.grid), self.config.projector_hidden_size
        width, square = self.config.hidden_size, self.side**2
        first = tokens * inner * (self.tower.width + width)
        return 2 * (first + tokens // square * inner * width * (square + 1))
