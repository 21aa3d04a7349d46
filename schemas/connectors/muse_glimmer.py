"""Muse Glimmer's and Muse Spark's connector: ``MuseGlimmerVisionAdapter`` of transformers and more."""

from __future__ import annotations

from typing import Literal

from ..encoders.base import Activation, Count, Epsilon
from .base import ConnectorConfig


class MuseGlimmerConnectorConfig(ConnectorConfig):
    """Three linear layers without biases on every merged token, and a norm without weights."""

    type: Literal["muse_glimmer"]
    projector_hidden_size: Count = 4096
    """Width between the linear layers."""
    act: Activation = "gelu"
    """Activation behind the first two."""
    rms_norm_eps: Epsilon = 1e-5
    """Epsilon of the norm: that of the language model."""
