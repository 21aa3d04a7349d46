"""Ovis2's connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, layer_norm, linear
from ..schemas.connectors.ovis2 import Ovis2ConnectorConfig
from .base import ImageOfTiles, parts, transformers_class
from .internvl import SquaresOfTokens, space_to_depth

if TYPE_CHECKING:
    from torch import Tensor, nn

_OF_TOWER = ("hidden_stride", "vocab_size", "num_visual_indicator_tokens", "tokenize_function")
"""Fields that the tower's config in transformers has."""


class Ovis2Connector(SquaresOfTokens[Ovis2ConnectorConfig]):
    """Squares of tokens, a choice of visual words for each, and the words' embeddings.

    Source: ``Ovis2VisionModel.forward`` and ``Ovis2Model.get_image_features``.
    """

    type = "ovis2"
    read_by: ClassVar = ("ovis2",)
    no_layers: ClassVar = frozenset({"visual_embeddings_table.weight"})

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        vision = vlm["vision_config"]
        fields = {name: vision.get(name) for name in _OF_TOWER}
        return {"hidden_size": vlm.get("hidden_size", 1536), **fields}

    @property
    def factor(self) -> int:
        return self.config.hidden_stride

    @property
    def _words(self) -> int:
        """Visual words that stand for parts of images."""
        return self.config.vocab_size - self.config.num_visual_indicator_tokens

    def shapes(self) -> Shapes:
        head = linear("head_linear", self.square_width, self._words, bias=False)
        head |= layer_norm("head_norm", self._words)
        table = {"visual_embeddings_table.weight": (self.config.vocab_size, self.config.hidden_size)}
        return below("vision_tower", head) | table

    def flops(self, image: ImageOfTiles) -> int:
        return 2 * self.num_rows(image) * self._words * (self.square_width + self.config.hidden_size)

    def build(self) -> nn.Module:
        from torch import nn

        head = parts(
            head_linear=nn.Linear(self.square_width, self._words, bias=False),
            head_norm=nn.LayerNorm(self._words),
        )
        table = nn.Embedding(self.config.vocab_size, self.config.hidden_size)
        return parts(vision_tower=head, visual_embeddings_table=table)

    def project(self, module: nn.Module, features: Tensor) -> Tensor:
        head = module.get_submodule("vision_tower")
        squares = space_to_depth(features, self.factor)
        logits = head.get_submodule("head_norm")(head.get_submodule("head_linear")(squares))
        table = module.get_parameter("visual_embeddings_table.weight")
        rows: Tensor = self._choice(logits) @ table[: self._words]
        return rows

    def _choice(self, logits: Tensor) -> Tensor:
        """Return how much of each visual word a square takes."""
        if self.config.tokenize_function == "softmax":
            return logits.softmax(dim=-1)
        choice: Tensor = transformers_class("ovis2.modeling_ovis2", "hard_softmax")(logits, dim=-1)
        return choice
