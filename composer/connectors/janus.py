"""Janus's connector."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, linear
from ..schemas.connectors.janus import JanusConnectorConfig
from .base import TileConnector, parts, transformers_class

if TYPE_CHECKING:
    from torch import nn


class JanusConnector(TileConnector[JanusConnectorConfig]):
    """Linear layers on every token. Their fields are those of the tower's config in transformers."""

    type = "janus"
    row_per_token: ClassVar = True
    read_by: ClassVar = ("janus",)
    projector = "aligner"

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        vision = vlm["vision_config"]
        return {
            "hidden_size": vision.get("projection_dim", 2048),
            "depth": vision.get("depth"),
            "act": vision.get("hidden_act"),
        }

    def shapes(self) -> Shapes:
        width = self.config.hidden_size
        shapes = linear("fc1", self.tower.width, width)
        for index in range(self.config.depth - 1):
            shapes |= linear(f"hidden_layers.{index}", width, width)
        return below(self.projector, shapes)

    def build(self) -> nn.Module:
        aligner = transformers_class("janus.modeling_janus", "JanusVisionAlignerMLP")
        config = SimpleNamespace(
            hidden_size=self.tower.width,
            projection_dim=self.config.hidden_size,
            depth=self.config.depth,
            hidden_act=self.config.act,
        )
        return parts(aligner=aligner(config))
