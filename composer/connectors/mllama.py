"""Llama 3.2 Vision's connector."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ..encoders.shapes import Shapes, linear
from ..schemas.connectors.mllama import MllamaConnectorConfig
from .base import TokenConnector, parts

if TYPE_CHECKING:
    from torch import nn


class MllamaConnector(TokenConnector[MllamaConnectorConfig]):
    """One linear layer on every token of every tile.

    The rows of an image are the cross-attention states of its tiles, each tile's class token first. There
    are states of padding tiles in transformers, too, which its processor's mask hides from the language
    model.
    """

    type = "mllama"
    read_by: ClassVar = ("mllama",)
    text_model_type = "mllama_text_model"

    def shapes(self) -> Shapes:
        return linear(self.projector, self.tower.width, self.config.hidden_size)

    def build(self) -> nn.Module:
        from torch import nn

        return parts(multi_modal_projector=nn.Linear(self.tower.width, self.config.hidden_size))
