"""Idefics2 (``Idefics2VisionTransformer``): images at their own aspect ratio."""

from __future__ import annotations

from typing import ClassVar

from ..images.resize import EdgeBounds, FixedSize, ResizeRule
from ..schemas.encoders.idefics import IdeficsVisionEncoderConfig
from .aliases import FromTransformers
from .idefics import Idefics
from .reading import Reading


class Idefics2(Idefics):
    """The family of idefics2_vision. Pixels that do not fill a patch are cut off."""

    model_type = "idefics2_vision"
    module = "transformers.models.idefics2.modeling_idefics2"
    model_class = "Idefics2VisionTransformer"
    config_class = "Idefics2VisionConfig"
    read_by: ClassVar = {"idefics2": Reading()}
    image_processor = "Idefics2ImageProcessorPil"
    whole_patches = True

    def resize_rule(
        self, encoder: IdeficsVisionEncoderConfig, processor: FromTransformers = None
    ) -> ResizeRule:
        size = _edges(encoder) if processor is None else processor.size
        shortest, longest = size["shortest_edge"], size["longest_edge"]
        if shortest and longest:
            return EdgeBounds(shortest, longest, encoder.patch_size)
        return FixedSize(size["width"], size["height"], encoder.patch_size)

    def image_processor_defaults(self, encoder: IdeficsVisionEncoderConfig) -> dict[str, object]:
        return {"size": _edges(encoder)}


def _edges(encoder: IdeficsVisionEncoderConfig) -> dict[str, int]:
    """Return the bounds of an image's edges, for a checkpoint that does not name them."""
    longest = encoder.image_size
    return {"shortest_edge": min(378, longest), "longest_edge": longest}
