"""HyperCLOVA X Vision's connector: the ``projector`` of ``HyperCLOVAXVisionV2Model`` in transformers."""

from __future__ import annotations

from typing import Literal

from .base import ConnectorConfig


class HyperClovaXConnectorConfig(ConnectorConfig):
    """One linear layer."""

    type: Literal["hyperclovax_vision_v2"]
