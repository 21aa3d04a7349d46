"""I-JEPA (``IJepaModel``): ViT's blocks, without a class token and a pooling head."""

from __future__ import annotations

from ..schemas.encoders.ijepa import IJepaEncoderConfig
from .vit import ViTStages


class IJepa(ViTStages[IJepaEncoderConfig]):
    """The family of ijepa."""

    model_type = "ijepa"
    model_class = "IJepaModel"
    config_class = "IJepaConfig"
