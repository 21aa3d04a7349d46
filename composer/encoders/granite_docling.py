"""Granite Docling (``GraniteDoclingVisionModel``): SigLIP's blocks on the tiles of a page."""

from __future__ import annotations

from typing import ClassVar

from ..schemas.encoders.granite_docling import GraniteDoclingVisionEncoderConfig
from .aliases import FromTransformers
from .clip import clip_block
from .reading import Reading
from .shapes import Shapes
from .siglip import SigLIPTower

_SMALLEST = {"scale_factor": 1, "out_hidden_size": 4, "deepstack_visual_indexes": [], "use_fine_route": False}
"""Fields of the connector that transformers builds into the tower, and that the tower is built without."""


class GraniteDocling(SigLIPTower[GraniteDoclingVisionEncoderConfig]):
    """The family of granite_docling_vision."""

    model_type = "granite_docling_vision"
    module = "transformers.models.granite_docling.modeling_granite_docling"
    model_class = "GraniteDoclingVisionModel"
    config_class = "GraniteDoclingVisionConfig"
    read_by: ClassVar = {"granite_docling": Reading()}
    image_processor = "GraniteDoclingImageProcessor"

    def block_shapes(self, encoder: GraniteDoclingVisionEncoderConfig) -> Shapes:
        return clip_block(encoder.hidden_size, encoder.intermediate_size)

    def head_modules(self) -> tuple[str, ...]:
        return ("connector",)

    def transformers_config(
        self, encoder: GraniteDoclingVisionEncoderConfig, num_blocks: int, *, head: bool
    ) -> FromTransformers:
        config = super().transformers_config(encoder, num_blocks, head=head)
        for field, value in _SMALLEST.items():
            setattr(config, field, value)
        return config
