"""Idefics3 (``Idefics3VisionTransformer``), which reads images or tiles as squares. Aria's tower too."""

from __future__ import annotations

from typing import ClassVar

from .idefics import Idefics
from .reading import Reading


class Idefics3(Idefics):
    """The family of idefics3_vision. Images are not cut into tiles, but resized to the square of one."""

    model_type = "idefics3_vision"
    model_class = "Idefics3VisionTransformer"
    config_class = "Idefics3VisionConfig"
    read_by: ClassVar = {"idefics3": Reading(), "aria": Reading(-1, chooses=False)}
    image_processor = "Idefics3ImageProcessor"
    whole_patches = False
