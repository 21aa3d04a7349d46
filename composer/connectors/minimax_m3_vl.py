"""MiniMax-M3-VL's connector."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, linear
from ..schemas.connectors.minimax_m3_vl import MiniMaxM3VLConnectorConfig
from .base import ImageOfTiles, TokenConnector, parts, text_width, transformers_class

if TYPE_CHECKING:
    from torch import Tensor, nn

PROJECTOR = "multi_modal_projector"


class MiniMaxM3VLConnector(TokenConnector[MiniMaxM3VLConnectorConfig]):
    """Two linear layers on every patch, then two on every square. The tower's patches stand by squares."""

    type = "minimax_m3_vl"
    read_by: ClassVar = ("minimax_m3_vl",)
    implied = ("merged_hidden_size",)
    disk_names: ClassVar = {"patch_merge_mlp.": f"{PROJECTOR}.merge_"}

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        fields = {"hidden_size": text_width(vlm, "minimax_m3_vl_text")}
        inner = vlm.get("projector_hidden_size")
        return fields if inner is None else fields | {"projector_hidden_size": inner}

    @property
    def tokens_per_row(self) -> int:
        return self.tower.info.grid_multiple**2

    def shapes(self) -> Shapes:
        width, inner = self.config.hidden_size, self.config.projector_hidden_size
        layers = linear("linear_1", self.tower.width, inner) | linear("linear_2", inner, width)
        layers |= linear("merge_linear_1", width * self.tokens_per_row, inner)
        return below(PROJECTOR, layers | linear("merge_linear_2", inner, width))

    def build(self) -> nn.Module:
        projector = transformers_class(
            "minimax_m3_vl.modeling_minimax_m3_vl", "MiniMaxM3VLMultiModalProjector"
        )
        width = self.config.hidden_size
        config = SimpleNamespace(
            vision_config=SimpleNamespace(
                hidden_size=self.tower.width, spatial_merge_size=self.tower.info.grid_multiple
            ),
            text_config=SimpleNamespace(hidden_size=width),
            projector_hidden_size=self.config.projector_hidden_size,
            merged_hidden_size=width * self.tokens_per_row,
        )
        return parts(multi_modal_projector=projector(config))

    def flops(self, image: ImageOfTiles) -> int:
        tokens, inner = self.tower.num_tokens(image.grid), self.config.projector_hidden_size
        width = self.config.hidden_size
        first = tokens * inner * (self.tower.width + width)
        return 2 * (first + tokens // self.tokens_per_row * inner * width * (self.tokens_per_row + 1))

    def project(self, module: nn.Module, tokens: Tensor, grids: Tensor) -> Tensor:
        rows: Tensor = module.get_submodule(PROJECTOR)(tokens)
        return rows
