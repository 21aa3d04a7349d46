"""Idefics2's connector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from ..encoders.shapes import Shapes, below, linear
from ..schemas.connectors.idefics2 import Idefics2ConnectorConfig
from .base import Connector, ImageOfTiles, parts, transformers_class
from .text_config import text_field

if TYPE_CHECKING:
    from torch import Tensor, nn


class Idefics2Connector(Connector[Idefics2ConnectorConfig]):
    """A gated MLP on every token, and a perceiver that reads an image into a fixed number of rows."""

    type = "idefics2"
    read_by: ClassVar = ("idefics2",)

    @classmethod
    def fields_of(cls, vlm: Mapping[str, Any]) -> dict[str, Any]:
        perceiver = vlm.get("perceiver_config")
        own = perceiver if isinstance(perceiver, Mapping) else {}
        fields = super().fields_of(vlm) | {
            "intermediate_size": text_field(vlm, "intermediate_size"),
            "act": text_field(vlm, "hidden_act"),
            "resampler_act": own.get("hidden_act"),
        }
        same = (
            "resampler_depth",
            "resampler_n_latents",
            "resampler_n_heads",
            "resampler_head_dim",
            "num_key_value_heads",
            "rms_norm_eps",
        )
        return fields | {name: own.get(name) for name in same}

    def shapes(self) -> Shapes:
        config, width = self.config, self.config.hidden_size
        heads = config.resampler_n_heads * config.resampler_head_dim
        shared = config.num_key_value_heads * config.resampler_head_dim
        layer: Shapes = {
            f"{norm}.weight": (width,)
            for norm in ("input_latents_norm", "input_context_norm", "post_attention_layernorm")
        }
        for name, rows in (("q_proj", heads), ("k_proj", shared), ("v_proj", shared)):
            layer |= linear(f"self_attn.{name}", width, rows, bias=False)
        layer |= linear("self_attn.o_proj", heads, width, bias=False)
        layer |= below("mlp", _gated(width, 4 * width, width))
        shapes = below(
            "connector.modality_projection", _gated(self.tower.width, config.intermediate_size, width)
        )
        perceiver = "connector.perceiver_resampler"
        shapes |= {f"{perceiver}.latents": (config.resampler_n_latents, width)}
        for index in range(config.resampler_depth):
            shapes |= below(f"{perceiver}.layers.{index}", layer)
        return shapes | {f"{perceiver}.norm.weight": (width,)}

    def num_rows(self, image: ImageOfTiles) -> int:
        return image.tiles.num_tiles * self.config.resampler_n_latents

    def build(self) -> nn.Module:
        from transformers.models.idefics2.configuration_idefics2 import Idefics2PerceiverConfig

        config = self.config
        perceiver = Idefics2PerceiverConfig(
            hidden_size=config.hidden_size,
            hidden_act=config.resampler_act,
            resampler_depth=config.resampler_depth,
            resampler_n_latents=config.resampler_n_latents,
            resampler_n_heads=config.resampler_n_heads,
            resampler_head_dim=config.resampler_head_dim,
            num_key_value_heads=config.num_key_value_heads,
            rms_norm_eps=config.rms_norm_eps,
        )
        text = SimpleNamespace(
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            hidden_act=config.act,
        )
        connector = transformers_class("idefics2.modeling_idefics2", "Idefics2Connector")
        return parts(
            connector=connector(
                SimpleNamespace(
                    vision_config=SimpleNamespace(hidden_size=self.tower.width),
                    text_config=text,
                    perceiver_config=perceiver,
                )
            )
        )

    def run(
        self, module: nn.Module, features: Tensor | tuple[Tensor, ...], images: Sequence[ImageOfTiles]
    ) -> tuple[Tensor, ...]:
        import torch

        connector, rows = module.get_submodule("connector"), []
        for tokens in features:  # tiles have numbers of tokens of their own, and no padding
            everything = torch.ones(1, len(tokens), dtype=torch.bool, device=tokens.device)
            rows.append(connector(tokens[None], attention_mask=everything)[0])
        return torch.split(torch.cat(rows), [self.num_rows(image) for image in images])


def _gated(inputs: int, inner: int, outputs: int) -> Shapes:
    """Return the tensors of a gated MLP without biases."""
    gate, up = (linear(name, inputs, inner, bias=False) for name in ("gate_proj", "up_proj"))
    return gate | up | linear("down_proj", inner, outputs, bias=False)
