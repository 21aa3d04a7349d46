"""VideoLLaMA 3's connector."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, linear
from ..schemas.connectors.video_llama_3 import VideoLlama3ConnectorConfig
from .base import TokenConnector, parts, text_width, transformers_class

if TYPE_CHECKING:
    from torch import Tensor, nn

PROJECTOR = "projector"


class VideoLlama3Connector(TokenConnector[VideoLlama3ConnectorConfig]):
    """Two linear layers on every token."""

    type = "video_llama_3"
    read_by: ClassVar = ("video_llama_3",)

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        return {"hidden_size": text_width(vlm, "qwen2")}

    def shapes(self) -> Shapes:
        width = self.config.hidden_size
        layers = linear("readout.0", self.tower.width, width) | linear("readout.2", width, width)
        return below(PROJECTOR, layers)

    def build(self) -> nn.Module:
        projector = transformers_class("video_llama_3.modeling_video_llama_3", "VideoLlama3Projector")
        config = SimpleNamespace(
            vision_config=SimpleNamespace(hidden_size=self.tower.width),
            text_config=SimpleNamespace(hidden_size=self.config.hidden_size),
        )
        return parts(projector=projector(config))

    def project(self, module: nn.Module, tokens: Tensor, grids: Tensor) -> Tensor:
        rows: Tensor = module.get_submodule(PROJECTOR)(tokens)
        return rows
