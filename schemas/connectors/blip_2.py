"""BLIP-2's connector: ``Blip2QFormerModel`` of transformers between learned queries and a linear layer."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from ..base import invalid, problem
from ..encoders.base import Activation, Count, Depth, Epsilon
from .base import ConnectorConfig


class Blip2ConnectorConfig(ConnectorConfig):
    """Learned queries that read an image through a Q-Former: the same number of rows for every image."""

    type: Literal["blip_2"]
    num_query_tokens: Count = 32
    """Queries, and so rows per image."""
    qformer_hidden_size: Count = 768
    """Width of a query."""
    qformer_num_hidden_layers: Depth = 12
    """Layers of the Q-Former."""
    qformer_num_attention_heads: Count = 12
    """Attention heads of a layer; must divide qformer_hidden_size."""
    qformer_intermediate_size: Count = 3072
    """Width of the MLP inside a layer."""
    qformer_hidden_act: Activation = "gelu"
    """Activation of the MLP."""
    qformer_layer_norm_eps: Epsilon = 1e-12
    """Epsilon of every LayerNorm."""
    cross_attention_frequency: Depth = 2
    """Every how many layers the queries attend to the image, from the first layer on."""

    @model_validator(mode="after")
    def _rules(self) -> Self:
        heads, width = self.qformer_num_attention_heads, self.qformer_hidden_size
        if width % heads:
            message = f"{heads} heads do not divide qformer_hidden_size {width}"
            raise invalid("connector", problem("VC208", message, "qformer_num_attention_heads", value=heads))
        return self
