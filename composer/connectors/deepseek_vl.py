"""DeepSeek-VL's connector."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, linear
from ..schemas.connectors.deepseek_vl import DeepseekVLConnectorConfig
from .base import TileConnector, parts, text_width, transformers_class

if TYPE_CHECKING:
    from torch import Tensor, nn


class DeepseekVLConnector(TileConnector[DeepseekVLConnectorConfig]):
    """Two linear layers on every token."""

    type = "deepseek_vl"
    read_by: ClassVar = ("deepseek_vl",)

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        return {"hidden_size": text_width(vlm)}

    def shapes(self) -> Shapes:
        width = self.config.hidden_size
        return below("aligner", linear("linear1", self.tower.width, width) | linear("linear2", width, width))

    def build(self) -> nn.Module:
        aligner = transformers_class("deepseek_vl.modeling_deepseek_vl", "DeepseekVLAligner")
        config = SimpleNamespace(
            vision_config=SimpleNamespace(hidden_size=self.tower.width),
            text_config=SimpleNamespace(hidden_size=self.config.hidden_size),
        )
        return parts(aligner=aligner(config))

    def project(self, module: nn.Module, features: Tensor) -> Tensor:
        rows: Tensor = module.get_submodule("aligner")(features)
        return rows
