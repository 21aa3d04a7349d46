"""InternVL's connector: ``InternVLMultiModalProjector`` of transformers."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..encoders.base import Activation
from .base import ConnectorConfig

Factor = Annotated[int, Field(ge=1, le=64)]
"""Tokens along a side of the square that becomes one row."""


class InternVLConnectorConfig(ConnectorConfig):
    """A square of tokens becomes one, which a norm and two linear layers project."""

    behind_several: ClassVar = True

    type: Literal["internvl"]
    downsample_factor: Factor = 2
    """Tokens along a side of the square that becomes one row: 1 / downsample_ratio in transformers."""
    act: Activation = "gelu"
    """Activation between the two linear layers."""
