"""LLaVA's connector: ``LlavaMultiModalProjector`` of transformers."""

from __future__ import annotations

from typing import ClassVar, Literal

from ..encoders.base import Activation
from .base import ConnectorConfig


class LlavaFields(ConnectorConfig):
    """Two linear layers with an activation between them."""

    act: Activation = "gelu"
    """Activation between the two linear layers."""
    bias: bool = True
    """Whether the linear layers have biases."""


class LlavaConnectorConfig(LlavaFields):
    """LLaVA's connector: two linear layers, the rows of an image in the tower's order."""

    behind_several: ClassVar = True

    type: Literal["llava"]
