"""DeepSeek-VL's connector: ``DeepseekVLAligner`` of transformers."""

from __future__ import annotations

from typing import Literal

from .base import ConnectorConfig


class DeepseekVLConnectorConfig(ConnectorConfig):
    """Two linear layers with GELU between them."""

    type: Literal["deepseek_vl"]
