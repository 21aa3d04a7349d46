"""RADIO: ``RadioConfig`` of transformers."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field
from pydantic_core import InitErrorDetails

from ..base import problem
from .base import (
    Activation,
    Blocks,
    Count,
    DenseEncoderConfig,
    Depth,
    Epsilon,
    Extra,
    Few,
    Probability,
    Side,
    check_ratio,
)

_Channels = Annotated[tuple[float, ...], Field(strict=False)]


class RadioEncoderConfig(DenseEncoderConfig):
    """RADIO: several class tokens and registers, positions cut out of one large table, normalises its own
    pixels."""

    foreign_fields: ClassVar[frozenset[str]] = frozenset({"patch_dim", "video_patch_dim"})

    model_type: Literal["radio"]
    hidden_size: Count = 1280
    num_hidden_layers: Depth = 32
    num_attention_heads: Count = 16
    mlp_ratio: Annotated[float, Field(gt=0, le=1_024)] = 4.0
    """Width of the MLP inside a block over hidden_size."""
    hidden_act: Activation = "gelu"
    """Activation of the MLP."""
    layer_norm_eps: Epsilon = 1e-6
    """Epsilon of every LayerNorm."""
    attention_probs_dropout_prob: Probability = 0.0
    """Dropout on attention weights, in training only."""
    hidden_dropout_prob: Probability = 0.0
    """Dropout on hidden states, in training only."""
    drop_path_rate: Probability = 0.0
    """Stochastic depth, in training only."""
    use_swiglu_ffn: bool = False
    """A gated MLP, two thirds as wide."""
    qkv_bias: bool = True
    """Whether query, key and value have a bias."""
    layerscale_value: float = 1.0
    """Layer scale where a checkpoint holds none."""
    max_img_size: Side = 2048
    """Side in pixels of the image that the position table is for."""
    num_cls_tokens: Extra = 3
    """Class tokens in front of the patches."""
    num_registers: Extra = 7
    """Register tokens between the class tokens and the patches."""
    video_temporal_patch_size: Annotated[Few, Field(ge=2)] | None = None
    """Frames in a patch of a video; the tower takes images only."""
    summary_idxs: Blocks | None = None
    """Class tokens that make up RADIO's summary; the tower returns them all."""
    norm_mean: _Channels = (0.48145466, 0.4578275, 0.40821073)
    """Mean that the encoder takes off its pixels, which come as values from 0 to 1."""
    norm_std: _Channels = (0.26862954, 0.26130258, 0.27577711)
    """Standard deviation that it then divides them by."""
    initializer_range: float = 0.02
    """Standard deviation of random initialisation."""

    @property
    def num_prefix_tokens(self) -> int:
        return self.num_cls_tokens + self.num_registers

    @property
    def has_class_token(self) -> bool:
        return self.num_cls_tokens > 0

    @property
    def has_post_norm(self) -> bool:
        return False

    @property
    def mlp_width(self) -> int:
        """Width of the MLP inside a block."""
        width = int(self.hidden_size * self.mlp_ratio)
        return (int(width * 2 / 3) + 7) // 8 * 8 if self.use_swiglu_ffn else width

    def _check(self) -> list[InitErrorDetails]:
        problems = [*super()._check(), *check_ratio(self, self.mlp_width, self.mlp_ratio)]
        if self.max_img_size < self.patch_size:
            message = f"{self.max_img_size} is smaller than a patch of {self.patch_size}: no position is left"
            problems.append(problem("VC208", message, "max_img_size", value=self.max_img_size))
        for key in ("norm_mean", "norm_std"):
            values = getattr(self, key)
            if len(values) != self.num_channels:
                message = f"has {len(values)} values for {self.num_channels} channels"
                problems.append(problem("VC208", message, key, value=values))
        if 0 in self.norm_std:
            problems.append(
                problem("VC208", "a standard deviation cannot be 0", "norm_std", value=self.norm_std)
            )
        return problems
