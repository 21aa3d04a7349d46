"""Idefics2's connector: ``Idefics2Connector`` of transformers."""

from __future__ import annotations

from typing import Literal

from ..encoders.base import Activation, Count, Depth, Epsilon
from .base import ConnectorConfig


class Idefics2ConnectorConfig(ConnectorConfig):
    """A gated MLP, and a perceiver whose latents become the rows: the same number for every image."""

    type: Literal["idefics2"]
    intermediate_size: Count = 14_336
    """Width inside the gated MLP: that of the language model's."""
    act: Activation = "silu"
    """Activation of the gated MLP: that of the language model's."""
    resampler_depth: Depth = 3
    """Layers of the perceiver."""
    resampler_n_latents: Count = 64
    """Rows per image."""
    resampler_n_heads: Count = 16
    """Attention heads of a layer."""
    resampler_head_dim: Count = 96
    """Width of one head."""
    num_key_value_heads: Count = 4
    """Heads of keys and values."""
    resampler_act: Activation = "silu"
    """Activation inside the perceiver."""
    rms_norm_eps: Epsilon = 1e-6
    """Epsilon of the perceiver's norms."""
