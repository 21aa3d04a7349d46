"""VideoLLaMA 3's connector."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..encoders.shapes import Shapes, below, linear
from ..schemas.connectors.video_llama_3 import VideoLlama3ConnectorConfig
from .base import TokenConnector, parts, transformers_class

if TYPE_CHECKING:
    from torch import nn


class VideoLlama3Connector(TokenConnector[VideoLlama3ConnectorConfig]):
    """Two linear layers on every token."""

    type = "video_llama_3"
    read_by: ClassVar = ("video_llama_3",)
    projector = "projector"
    text_model_type = "qwen2"

    def shapes(self) -> Shapes:
        width = self.config.hidden_size
        layers = linear("readout.0", self.tower.width, width) | linear("readout.2", width, width)
        return below(self.projector, layers)

    def build(self) -> nn.Module:
        projector = transformers_class("video_llama_3.modeling_video_llama_3", "VideoLlama3Projector")
        return parts(projector=projector(self.vlm_config()))
