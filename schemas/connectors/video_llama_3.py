"""VideoLLaMA 3's connector: ``VideoLlama3Projector`` of transformers."""

from __future__ import annotations

from typing import Literal

from .base import ConnectorConfig


class VideoLlama3ConnectorConfig(ConnectorConfig):
    """Two linear layers on every token."""

    type: Literal["video_llama_3"]
