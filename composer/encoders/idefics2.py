"""Idefics2 (``Idefics2VisionTransformer``): images at their own aspect ratio."""

from __future__ import annotations

from typing import ClassVar

from .idefics import Idefics
from .reading import Reading


class Idefics2(Idefics):
    """The family of idefics2_vision. Pixels that do not fill a patch are cut off."""

    model_type = "idefics2_vision"
    module = "transformers.models.idefics2.modeling_idefics2"
    model_class = "Idefics2VisionTransformer"
    config_class = "Idefics2VisionConfig"
    read_by: ClassVar = {"idefics2": Reading()}
    image_processor = "Idefics2ImageProcessor"
    whole_patches = True
