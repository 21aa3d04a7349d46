"""Aria's connector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, layer_norm, linear, linears, matrix_values
from ..errors import ConfigError, InputError, Problem
from ..schemas.connectors.aria import AriaConnectorConfig
from .base import Connector, ImageOfTiles, parts, transformers_class

if TYPE_CHECKING:
    from torch import Tensor, nn


class AriaConnector(Connector[AriaConnectorConfig]):
    """Queries that attend to an image's tokens, and a gated MLP. Source: ``AriaProjector.forward``."""

    type = "aria"
    read_by: ClassVar = ("aria",)
    no_layers: ClassVar = frozenset({"multi_modal_projector.cross_attn.multihead_attn.out_proj.weight"})
    text_model_type = "aria_text"
    implied = ("max_value_projector_patch_to_query_dict",)

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        numbers = vlm.get("projector_patch_to_query_dict")
        try:
            pairs = numbers and [[int(patches), int(queries)] for patches, queries in numbers.items()]
        except (AttributeError, TypeError, ValueError) as error:
            message = "expected an object of numbers"
            raise ConfigError(Problem("VC103", message, "projector_patch_to_query_dict")) from error
        return super().fields_of(vlm) | {"patch_to_query": pairs}

    @property
    def _numbers(self) -> dict[int, int]:
        return dict(self.config.patch_to_query)

    def shapes(self) -> Shapes:
        width, text = self.tower.width, self.config.hidden_size
        attention = linears("", ("q_proj", "k_proj", "v_proj"), width, width, bias=False)
        attention |= {
            "multihead_attn.in_proj_weight": (3 * width, width),
            "multihead_attn.in_proj_bias": (3 * width,),
        }
        attention |= linear("multihead_attn.out_proj", width, width) | linear("linear", width, width)
        attention |= layer_norm("layer_norm", width) | layer_norm("layer_norm_kv", width)
        mlp = linear("linear_in", width, text, bias=False) | linear("linear_out", text, text, bias=False)
        shapes: Shapes = {"query": (max(self._numbers.values()), width)}
        shapes |= below("cross_attn", attention) | layer_norm("layer_norm", width)
        return below(self.projector, shapes | below("feed_forward", mlp))

    def num_rows(self, image: ImageOfTiles) -> int:
        # The longer side of an image fills the square that it is padded to.
        side = max(image.grid)
        if side * side not in self._numbers:
            squares = ", ".join(map(str, sorted(self._numbers)))
            raise InputError(
                f"the connector 'aria' has queries for squares of {squares} patches, not of {side * side}"
            )
        return self._numbers[side * side]

    def flops(self, image: ImageOfTiles) -> int:
        tokens, queries, width = self.tower.num_tokens(image.grid), self.num_rows(image), self.tower.width
        of_tokens = 4 * width**2  # keys and values, once here and once in torch's attention
        of_queries = matrix_values(self.shapes()) - max(self._numbers.values()) * width - of_tokens
        return 2 * (of_tokens * tokens + of_queries * queries + 2 * queries * tokens * width)

    def build(self) -> nn.Module:
        projector = transformers_class("aria.modeling_aria", "AriaProjector")
        config = self.vlm_config(
            vision={"num_attention_heads": self.tower.encoder.num_attention_heads},
            projector_patch_to_query_dict=self._numbers,
            max_value_projector_patch_to_query_dict=max(self._numbers.values()),
        )
        return parts(multi_modal_projector=projector(config))

    def run(
        self, module: nn.Module, features: Tensor | tuple[Tensor, ...], images: Sequence[ImageOfTiles]
    ) -> tuple[Tensor, ...]:
        # Without the padding, which transformers' forward masks.
        projector: Any = module.get_submodule(self.projector)
        rows = []
        for tokens, image in zip(features, images, strict=True):
            queries = projector.query[: self.num_rows(image)]
            attended = projector.cross_attn(tokens[None], queries[None])
            rows.append(projector.feed_forward(projector.layer_norm(attended))[0])
        return tuple(rows)
