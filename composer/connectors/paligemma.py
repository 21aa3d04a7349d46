"""PaliGemma's connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, linear
from ..schemas.connectors.paligemma import PaliGemmaConnectorConfig
from .base import TileConnector, parts, transformers_class
from .text_config import text_width

if TYPE_CHECKING:
    from torch import nn


class PaliGemmaConnector(TileConnector[PaliGemmaConnectorConfig]):
    """One linear layer on every token."""

    type = "paligemma"
    row_per_token: ClassVar = True
    read_by: ClassVar = ("paligemma",)

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        vision = vlm.get("vision_config")
        width = vision.get("projection_dim") if isinstance(vision, Mapping) else None
        return {"hidden_size": width or vlm.get("projection_dim") or text_width(vlm)}

    def shapes(self) -> Shapes:
        return below(self.projector, linear("linear", self.tower.width, self.config.hidden_size))

    def build(self) -> nn.Module:
        projector = transformers_class("paligemma.modeling_paligemma", "PaliGemmaMultiModalProjector")
        config = self.vlm_config(vision={"projection_dim": self.config.hidden_size})
        return parts(multi_modal_projector=projector(config))
