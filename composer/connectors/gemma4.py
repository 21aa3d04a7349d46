"""Gemma 4's connector."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, ClassVar

from ..encoders.shapes import Shapes, linear
from ..schemas.connectors.gemma4 import Gemma4ConnectorConfig
from .base import TokenConnector, parts, transformers_class

if TYPE_CHECKING:
    from torch import nn


class Gemma4Connector(TokenConnector[Gemma4ConnectorConfig]):
    """A norm without weights and a linear layer on every pooled token."""

    type = "gemma4"
    read_by: ClassVar = ("gemma4", "diffusion_gemma")
    projector = "embed_vision"

    def shapes(self) -> Shapes:
        return linear(
            "embed_vision.embedding_projection", self.tower.width, self.config.hidden_size, bias=False
        )

    def build(self) -> nn.Module:
        embedder = transformers_class("gemma4.modeling_gemma4", "Gemma4MultimodalEmbedder")
        vision = SimpleNamespace(
            hidden_size=self.tower.width, rms_norm_eps=getattr(self.tower.encoder, "rms_norm_eps", 1e-6)
        )
        return parts(embed_vision=embedder(vision, SimpleNamespace(hidden_size=self.config.hidden_size)))
