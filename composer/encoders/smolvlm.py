"""SmolVLM (``SmolVLMVisionTransformer``): Idefics3's tower under other names."""

from __future__ import annotations

from typing import ClassVar

from .idefics3 import Idefics3
from .reading import Reading


class SmolVLM(Idefics3):
    """The family of smolvlm_vision."""

    model_type = "smolvlm_vision"
    model_class = "SmolVLMVisionTransformer"
    config_class = "SmolVLMVisionConfig"
    read_by: ClassVar = {"smolvlm": Reading()}
    image_processor = "SmolVLMImageProcessor"
