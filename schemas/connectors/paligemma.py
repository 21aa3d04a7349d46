"""PaliGemma's connector: ``PaliGemmaMultiModalProjector`` of transformers."""

from __future__ import annotations

from typing import ClassVar, Literal

from .base import ConnectorConfig


class PaliGemmaConnectorConfig(ConnectorConfig):
    """One linear layer."""

    behind_several: ClassVar = True

    type: Literal["paligemma"]
