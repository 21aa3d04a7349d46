"""MetaCLIP 2 (``MetaClip2VisionModel``): CLIP's tower under another name."""

from __future__ import annotations

from typing import ClassVar

from ..schemas import EncoderConfig
from ..schemas.processor_class import square
from .clip import CLIP
from .reading import Reading


class MetaClip2(CLIP):
    """The family of metaclip_2_vision_model."""

    model_type = "metaclip_2_vision_model"
    model_class = "MetaClip2VisionModel"
    config_class = "MetaClip2VisionConfig"
    read_by: ClassVar = {"metaclip_2": Reading()}

    def image_processor_defaults(self, encoder: EncoderConfig) -> dict[str, object]:
        # Unlike CLIP's, an image is squeezed into the square, not cropped.
        return {"size": square(encoder.image_size), "crop_size": square(encoder.image_size)}
