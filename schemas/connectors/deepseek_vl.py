"""DeepSeek-VL's connector: ``DeepseekVLAligner`` of transformers."""

from __future__ import annotations

from typing import ClassVar, Literal

from .base import ConnectorConfig


class DeepseekVLConnectorConfig(ConnectorConfig):
    """Two linear layers with GELU between them."""

    behind_several: ClassVar = True

    type: Literal["deepseek_vl"]
