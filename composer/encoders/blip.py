"""BLIP's vision tower (``BlipVisionModel``), whose own output BLIP's text decoder reads."""

from __future__ import annotations

from typing import ClassVar

from ..schemas.encoders.blip import BlipVisionEncoderConfig
from .blip_2 import BlipStages
from .reading import Reading


class Blip(BlipStages[BlipVisionEncoderConfig]):
    """The family of blip_vision_model."""

    model_type = "blip_vision_model"
    model_class = "BlipVisionModel"
    config_class = "BlipVisionConfig"
    read_by: ClassVar = {"blip": Reading()}
    attention_backends: ClassVar = ("eager",)  # the blocks compute attention themselves
