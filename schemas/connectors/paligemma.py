"""PaliGemma's connector: ``PaliGemmaMultiModalProjector`` of transformers."""

from __future__ import annotations

from typing import Literal

from .base import ConnectorConfig


class PaliGemmaConnectorConfig(ConnectorConfig):
    """One linear layer."""

    type: Literal["paligemma"]
