"""DeepSeek-VL's connector."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..encoders.shapes import Shapes, below, linear
from ..schemas.connectors.deepseek_vl import DeepseekVLConnectorConfig
from .base import TileConnector, parts, transformers_class

if TYPE_CHECKING:
    from torch import nn


class DeepseekVLConnector(TileConnector[DeepseekVLConnectorConfig]):
    """Two linear layers on every token."""

    type = "deepseek_vl"
    row_per_token: ClassVar = True
    read_by: ClassVar = ("deepseek_vl",)
    projector = "aligner"

    def shapes(self) -> Shapes:
        width = self.config.hidden_size
        layers = linear("linear1", self.tower.width, width) | linear("linear2", width, width)
        return below(self.projector, layers)

    def build(self) -> nn.Module:
        aligner = transformers_class("deepseek_vl.modeling_deepseek_vl", "DeepseekVLAligner")
        return parts(aligner=aligner(self.vlm_config()))
