"""BLIP-2's connector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders import Grid
from ..encoders.shapes import Shapes, below, layer_norm, linear, linears, matrix_values
from ..schemas.connectors.blip_2 import Blip2ConnectorConfig
from .base import ImageOfTiles, TileConnector, parts, transformers_class

if TYPE_CHECKING:
    from torch import Tensor, nn

_QFORMER = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "layer_norm_eps",
)
"""Fields that are called ``qformer_...`` in the config block."""


class Blip2Connector(TileConnector[Blip2ConnectorConfig]):
    """A Q-Former, whose queries become the rows, and a linear layer."""

    type = "blip_2"
    read_by: ClassVar = ("blip-2",)
    text_model_type = "opt"
    in_float32: ClassVar = ("query_tokens", "qformer")

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        own = vlm.get("qformer_config")
        qformer = own if isinstance(own, Mapping) else {}
        fields = {f"qformer_{name}": qformer.get(name) for name in _QFORMER}
        fields["cross_attention_frequency"] = qformer.get("cross_attention_frequency")
        fields["num_query_tokens"] = vlm.get("num_query_tokens")
        return super().fields_of(vlm) | fields

    def shapes(self) -> Shapes:
        config, width = self.config, self.config.qformer_hidden_size
        shapes: Shapes = {"query_tokens": (1, config.num_query_tokens, width)}
        shapes |= below("qformer.layernorm", layer_norm("", width))
        for index in range(config.qformer_num_hidden_layers):
            layer = _attention("attention", width, width)
            if self._reads_image(index):
                layer |= _attention("crossattention", width, self.tower.width)
            layer |= linear("intermediate_query.dense", width, config.qformer_intermediate_size)
            layer |= _output("output_query", config.qformer_intermediate_size, width)
            shapes |= below(f"qformer.encoder.layer.{index}", layer)
        return shapes | linear("language_projection", width, config.hidden_size)

    def _reads_image(self, layer: int) -> bool:
        return layer % self.config.cross_attention_frequency == 0

    def num_tile_rows(self, grid: Grid) -> int:
        return self.config.num_query_tokens

    def flops(self, image: ImageOfTiles) -> int:
        tokens, queries = self.tower.num_tokens(image.grid), self.config.num_query_tokens
        keys = {name: shape for name, shape in self.shapes().items() if _reads_tokens(name)}
        products = matrix_values(self.shapes()) * queries + matrix_values(keys) * (tokens - queries)
        layers = range(self.config.qformer_num_hidden_layers)
        attended = sum(queries + tokens * self._reads_image(layer) for layer in layers)
        return (
            2 * image.tiles.num_tiles * (products + 2 * queries * attended * self.config.qformer_hidden_size)
        )

    def build(self) -> nn.Module:
        import torch
        from transformers import Blip2QFormerConfig

        config = self.config
        qformer = transformers_class("blip_2.modeling_blip_2", "Blip2QFormerModel")
        width = config.qformer_hidden_size
        fields = {name: getattr(config, f"qformer_{name}") for name in _QFORMER}
        fields["cross_attention_frequency"] = config.cross_attention_frequency
        return parts(
            query_tokens=torch.randn(1, config.num_query_tokens, width) * 0.02,
            qformer=qformer(Blip2QFormerConfig(encoder_hidden_size=self.tower.width, **fields)),
            language_projection=torch.nn.Linear(width, config.hidden_size),
        )

    def project(self, module: nn.Module, features: Tensor) -> Tensor:
        queries = module.get_parameter("query_tokens").expand(len(features), -1, -1)
        read = module.get_submodule("qformer")(query_embeds=queries, encoder_hidden_states=features)
        rows: Tensor = module.get_submodule("language_projection")(read.last_hidden_state.to(features.dtype))
        return rows


def _attention(name: str, width: int, read: int) -> Shapes:
    """Return the tensors of an attention whose keys and values are made of features of width ``read``."""
    keys = linears("attention", ("key", "value"), read, width)
    return below(name, linear("attention.query", width, width) | keys | _output("output", width, width))


def _output(name: str, inputs: int, width: int) -> Shapes:
    return below(name, linear("dense", inputs, width) | layer_norm("LayerNorm", width))


def _reads_tokens(name: str) -> bool:
    return name.endswith(("crossattention.attention.key.weight", "crossattention.attention.value.weight"))
