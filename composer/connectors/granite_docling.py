"""Granite Docling's connector."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, layer_norm, linear
from ..schemas.connectors.granite_docling import GraniteDoclingConnectorConfig
from .base import ImageOfTiles, parts, transformers_class
from .internvl import SquaresOfTokens

if TYPE_CHECKING:
    from torch import Tensor, nn


class GraniteDoclingConnector(SquaresOfTokens[GraniteDoclingConnectorConfig]):
    """The coarse path, without what it makes for DeepStack. Its fields are those of the tower's config."""

    type = "granite_docling"
    read_by: ClassVar = ("granite_docling",)
    projector = "vision_model.connector"
    implied = (  # of the fine path, which only a caller of the image processor chooses
        "density_router_hidden_size",
        "density_router_threshold",
        "density_router_loss_weight",
    )

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        vision = vlm["vision_config"]
        return {
            "hidden_size": vision.get("out_hidden_size", 1024),
            "scale_factor": vision.get("scale_factor"),
        }

    @property
    def factor(self) -> int:
        return self.config.scale_factor

    def shapes(self) -> Shapes:
        width, out = self.tower.width, self.config.hidden_size
        layers = layer_norm("ln_in", width) | layer_norm("ln_mid", out) | layer_norm("ln_out", out)
        layers |= linear("coarse.projection", self.square_width, out, bias=False)
        return below(self.projector, layers | linear("mlp_fc2", out, out, bias=False))

    def flops(self, image: ImageOfTiles) -> int:
        return (
            2 * self.num_rows(image) * self.config.hidden_size * (self.square_width + self.config.hidden_size)
        )

    def build(self) -> nn.Module:
        info = self.tower.info
        connector = transformers_class("granite_docling.modeling_granite_docling", "GraniteDoclingConnector")
        config = SimpleNamespace(
            hidden_size=self.tower.width,
            out_hidden_size=self.config.hidden_size,
            scale_factor=self.factor,
            use_fine_route=False,
            image_size=info.image_size,
            patch_size=info.patch_size,
            deepstack_visual_indexes=(),
        )
        return parts(vision_model=parts(connector=connector(config)))

    def project(self, module: nn.Module, features: Tensor) -> Tensor:
        rows: Tensor = module.get_submodule(self.projector)(features, [])[0]
        return rows.reshape(len(features), -1, self.config.hidden_size)
