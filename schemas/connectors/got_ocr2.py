"""GOT-OCR 2's connector: ``GotOcr2MultiModalProjector`` of transformers."""

from __future__ import annotations

from typing import Literal

from .base import ConnectorConfig


class GotOcr2ConnectorConfig(ConnectorConfig):
    """Two convolutions that each halve rows and columns, and a linear layer."""

    type: Literal["got_ocr2"]
