"""Ovis2's connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, layer_norm, linear
from ..schemas.connectors.ovis2 import Ovis2ConnectorConfig
from .base import TileConnector, parts, transformers_class

if TYPE_CHECKING:
    from torch import Tensor, nn

_HEAD = "vision_tower.head_{}"
_TABLE = "visual_embeddings_table"


class Ovis2Connector(TileConnector[Ovis2ConnectorConfig]):
    """A distribution over visual words, and the mean of their embeddings."""

    type = "ovis2"
    read_by: ClassVar = ("ovis2",)

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        vision = vlm["vision_config"]
        names = ("vocab_size", "num_visual_indicator_tokens", "tokenize_function")
        return {"hidden_size": vlm.get("hidden_size", 1536)} | {
            name: vision[name] for name in names if name in vision
        }

    @property
    def num_words(self) -> int:
        """Rows of the table that an image is made of."""
        return self.config.vocab_size - self.config.num_visual_indicator_tokens

    def shapes(self) -> Shapes:
        return {
            **linear(_HEAD.format("linear"), self.tower.width, self.num_words, bias=False),
            **layer_norm(_HEAD.format("norm"), self.num_words),
            f"{_TABLE}.weight": (self.config.vocab_size, self.config.hidden_size),
        }

    def build(self) -> nn.Module:
        from torch import nn

        table = transformers_class("ovis2.modeling_ovis2", "Ovis2VisualEmbeddingTable")
        head = parts(
            head_linear=nn.Linear(self.tower.width, self.num_words, bias=False),
            head_norm=nn.LayerNorm(self.num_words),
        )
        embeddings = table(self.config.vocab_size, self.config.hidden_size)
        return parts(vision_tower=head, visual_embeddings_table=embeddings)

    def project(self, module: nn.Module, features: Tensor) -> Tensor:
        from torch.nn.functional import pad

        logits = module.get_submodule(_HEAD.format("linear"))(features)
        logits = module.get_submodule(_HEAD.format("norm"))(logits)
        if self.config.tokenize_function == "softmax":
            words = logits.softmax(dim=-1)
        else:
            words = transformers_class("ovis2.modeling_ovis2", "hard_softmax")(logits, dim=-1)
        rows: Tensor = module.get_submodule(_TABLE)(pad(words, (0, self.config.num_visual_indicator_tokens)))
        return rows
