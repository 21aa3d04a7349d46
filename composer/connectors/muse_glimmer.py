"""Muse Glimmer's and Muse Spark's connector."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, linear
from ..schemas.connectors.muse_glimmer import MuseGlimmerConnectorConfig
from .base import TokenConnector, parts, transformers_class
from .text_config import text_field, text_width

if TYPE_CHECKING:
    from torch import Tensor, nn

_MODULE = "muse_glimmer.modeling_muse_glimmer"


class MuseGlimmerConnector(TokenConnector[MuseGlimmerConnectorConfig]):
    """Three linear layers on every merged token, and a norm. Source: ``get_image_features``."""

    type = "muse_glimmer"
    read_by: ClassVar = ("muse_glimmer", "muse_spark")
    implied = ("out_hidden_size",)

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "hidden_size": text_width(vlm, f"{vlm['model_type']}_text"),
            "projector_hidden_size": vlm.get("projector_hidden_size"),
            "act": vlm.get("projector_hidden_act"),
            "rms_norm_eps": text_field(vlm, "rms_norm_eps"),
        }

    def shapes(self) -> Shapes:
        inner = self.config.projector_hidden_size
        return {
            **linear("vision_adapter.fc1", self.tower.width, inner, bias=False),
            **linear("vision_adapter.fc2", inner, inner, bias=False),
            **linear("vision_projection", inner, self.config.hidden_size, bias=False),
        }

    def build(self) -> nn.Module:
        from torch import nn

        adapter = transformers_class(_MODULE, "MuseGlimmerVisionAdapter")
        norm = transformers_class(_MODULE, "MuseGlimmerRMSNorm")
        config = SimpleNamespace(
            out_hidden_size=self.tower.width,
            projector_hidden_size=self.config.projector_hidden_size,
            projector_hidden_act=self.config.act,
        )
        return parts(
            vision_adapter=adapter(config),
            vision_projection=nn.Linear(
                self.config.projector_hidden_size, self.config.hidden_size, bias=False
            ),
            perception_emb_norm=norm(eps=self.config.rms_norm_eps, with_scale=False),
        )

    def project(self, module: nn.Module, tokens: Tensor, grids: Tensor) -> Tensor:
        rows = tokens
        for name in ("vision_adapter", "vision_projection", "perception_emb_norm"):
            rows = module.get_submodule(name)(rows)
        return rows
