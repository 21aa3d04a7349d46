"""SmolVLM (``SmolVLMVisionTransformer``): Idefics3's tower under names of its own."""

from __future__ import annotations

from .idefics3 import Idefics3


class SmolVLM(Idefics3):
    """smolvlm_vision."""

    model_type = "smolvlm_vision"
    model_class = "SmolVLMVisionTransformer"
    config_class = "SmolVLMVisionConfig"
    image_processor = "SmolVLMImageProcessorPil"
