"""Llama 3.2 Vision's connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, linear
from ..schemas.connectors.mllama import MllamaConnectorConfig
from .base import TokenConnector, parts, text_width
from .llava import PROJECTOR

if TYPE_CHECKING:
    from torch import Tensor, nn


class MllamaConnector(TokenConnector[MllamaConnectorConfig]):
    """One linear layer on every token of every tile.

    The rows of an image are the cross-attention states of its tiles, each tile's class token first. There
    are states of padding tiles in transformers, too, which its processor's mask hides from the language
    model.
    """

    type = "mllama"
    read_by: ClassVar = ("mllama",)

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        return {"hidden_size": text_width(vlm, "mllama_text_model")}

    def shapes(self) -> Shapes:
        return linear(PROJECTOR, self.tower.width, self.config.hidden_size)

    def build(self) -> nn.Module:
        from torch import nn

        return parts(multi_modal_projector=nn.Linear(self.tower.width, self.config.hidden_size))

    def project(self, module: nn.Module, tokens: Tensor, grids: Tensor) -> Tensor:
        rows: Tensor = module.get_submodule(PROJECTOR)(tokens)
        return rows
