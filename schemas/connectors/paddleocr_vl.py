"""PaddleOCR-VL's connector: ``PaddleOCRProjector`` of transformers."""

from __future__ import annotations

from typing import Literal

from .base import ConnectorConfig


class PaddleOCRVLConnectorConfig(ConnectorConfig):
    """A norm on every patch, and two linear layers on every square of patches."""

    type: Literal["paddleocr_vl"]
