"""DINOv3 ViT: ``DINOv3ViTConfig`` of transformers."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic_core import InitErrorDetails

from .base import Activation, Count, DenseEncoderConfig, Epsilon, Extra, Probability, check_rope


class DINOv3ViTEncoderConfig(DenseEncoderConfig):
    """DINOv3 ViT: a class token, registers, axial rope over the patches of an image of any size."""

    inert_fields: ClassVar[frozenset[str]] = DenseEncoderConfig.inert_fields | {
        "pos_embed_jitter",
        "pos_embed_rescale",
        "pos_embed_shift",
    }

    model_type: Literal["dinov3_vit"]
    hidden_size: Count = 384
    intermediate_size: Count = 1536
    """Width of the MLP inside a block."""
    num_attention_heads: Count = 6
    hidden_act: Activation = "gelu"
    """Activation of the MLP."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights, in training only."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""
    layer_norm_eps: Epsilon = 1e-5
    """Epsilon of every LayerNorm."""
    rope_theta: Annotated[float, Field(gt=0)] = 100.0
    """Base period of the rope."""
    query_bias: bool = True
    """Whether the query projection has a bias."""
    key_bias: bool = False
    """Whether the key projection has a bias."""
    value_bias: bool = True
    """Whether the value projection has a bias."""
    proj_bias: bool = True
    """Whether the output projection has a bias."""
    mlp_bias: bool = True
    """Whether the MLP's projections have a bias."""
    layerscale_value: float = 1.0
    """Initial layer scale."""
    drop_path_rate: Probability = 0.0
    """Stochastic depth, in training only."""
    use_gated_mlp: bool = False
    """Gated MLP, as in the larger models."""
    num_register_tokens: Extra = 0
    """Register tokens behind the class token."""
    pos_embed_shift: Annotated[float | None, Field(examples=[0.1])] = None
    """Random shift of the rope's coordinates, in training only."""
    pos_embed_jitter: Annotated[float | None, Field(examples=[1.1])] = None
    """Random stretch of the rope's coordinates per axis, in training only."""
    pos_embed_rescale: float | None = 2.0
    """Random stretch of the rope's coordinates, in training only."""

    @property
    def num_prefix_tokens(self) -> int:
        return 1 + self.num_register_tokens

    def _check(self) -> list[InitErrorDetails]:
        return [*super()._check(), *check_rope(self)]
