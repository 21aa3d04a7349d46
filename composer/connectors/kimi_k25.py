"""Kimi K2.5's connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, layer_norm, linear
from ..schemas.connectors.kimi_k25 import KimiK25ConnectorConfig
from .base import TokenConnector, parts, transformers_class

if TYPE_CHECKING:
    from torch import Tensor, nn


class KimiK25Connector(TokenConnector[KimiK25ConnectorConfig]):
    """A norm on every patch, and two linear layers on every square, whose patches stand side by side."""

    type = "kimi_k25"
    read_by: ClassVar = ("kimi_k25",)
    projector = "mm_projector"
    text_model_type = "deepseek_v3"
    implied = ("projection_hidden_size",)
    disk_names: ClassVar = {
        "mm_projector.proj.0.": "mm_projector.in_proj.",
        "mm_projector.proj.2.": "mm_projector.out_proj.",
    }

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        return super().fields_of(vlm) | {"layer_norm_eps": vlm.get("projection_layer_norm_eps")}

    def shapes(self) -> Shapes:
        square = self.tower.width
        layers = layer_norm("pre_norm", self.tower.info.hidden_size) | linear("in_proj", square, square)
        return below(self.projector, layers | linear("out_proj", square, self.config.hidden_size))

    def build(self) -> nn.Module:
        projector = transformers_class("kimi_k25.modeling_kimi_k25", "Kimi_K25MultimodalProjection")
        width, merge = self.tower.info.hidden_size, self.tower.info.merge_size
        config = self.vlm_config(
            vision={"hidden_size": width, "merge_kernel_size": (merge, merge)},
            projection_hidden_size=width,
            projection_layer_norm_eps=self.config.layer_norm_eps,
        )
        return parts(mm_projector=projector(config))

    def project(self, module: nn.Module, tokens: Tensor, grids: Tensor) -> Tensor:
        patches = tokens.view(len(tokens), -1, self.tower.info.hidden_size)
        return super().project(module, patches, grids).squeeze(1)
