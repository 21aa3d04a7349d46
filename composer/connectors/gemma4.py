"""Gemma 4's connector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, linear
from ..schemas.connectors.gemma4 import Gemma4ConnectorConfig
from .base import Connector, ImageOfTiles, parts, text_width, transformers_class

if TYPE_CHECKING:
    from torch import Tensor, nn


class Gemma4Connector(Connector[Gemma4ConnectorConfig]):
    """A norm without weights and a linear layer on every pooled token."""

    type = "gemma4"
    read_by: ClassVar = ("gemma4", "diffusion_gemma")

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        return {"hidden_size": text_width(vlm)}

    def shapes(self) -> Shapes:
        return linear(
            "embed_vision.embedding_projection", self.tower.width, self.config.hidden_size, bias=False
        )

    def num_rows(self, image: ImageOfTiles) -> int:
        return image.tiles.num_tiles * self.tower.num_tokens(image.grid)

    def build(self) -> nn.Module:
        embedder = transformers_class("gemma4.modeling_gemma4", "Gemma4MultimodalEmbedder")
        vision = SimpleNamespace(
            hidden_size=self.tower.width, rms_norm_eps=getattr(self.tower.encoder, "rms_norm_eps", 1e-6)
        )
        return parts(embed_vision=embedder(vision, SimpleNamespace(hidden_size=self.config.hidden_size)))

    def run(
        self, module: nn.Module, features: Tensor | tuple[Tensor, ...], images: Sequence[ImageOfTiles]
    ) -> tuple[Tensor, ...]:
        import torch

        rows = module.get_submodule("embed_vision")(torch.cat(tuple(features)))
        return torch.split(rows, [len(tokens) for tokens in features])
