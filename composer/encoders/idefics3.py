"""Idefics3 (``Idefics3VisionTransformer``), which reads images or tiles as squares. Aria's tower too."""

from __future__ import annotations

from typing import ClassVar

from ..images.resize import FixedSize
from ..schemas.encoders.idefics import IdeficsVisionEncoderConfig
from .aliases import FromTransformers
from .idefics import Idefics
from .reading import Reading


class Idefics3(Idefics):
    """The family of idefics3_vision. Images are not cut into tiles, but resized to the square of one."""

    model_type = "idefics3_vision"
    model_class = "Idefics3VisionTransformer"
    config_class = "Idefics3VisionConfig"
    read_by: ClassVar = {"idefics3": Reading(), "aria": Reading(-1, chooses=False)}
    image_processor = "Idefics3ImageProcessorPil"
    whole_patches = False

    def resize_rule(
        self, encoder: IdeficsVisionEncoderConfig, processor: FromTransformers = None
    ) -> FixedSize:
        side = encoder.image_size if processor is None else processor.max_image_size["longest_edge"]
        return FixedSize(side, side, encoder.patch_size)

    def image_processor_defaults(self, encoder: IdeficsVisionEncoderConfig) -> dict[str, object]:
        side = encoder.image_size
        return {"size": {"longest_edge": 4 * side}, "max_image_size": {"longest_edge": side}}

    def image_processor_settings(self, encoder: IdeficsVisionEncoderConfig) -> dict[str, object]:
        return super().image_processor_settings(encoder) | {"return_row_col_info": False}
