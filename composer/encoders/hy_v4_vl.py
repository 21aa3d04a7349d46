"""Hy4 (``HYV4VLVisionModel``): HunyuanOCR's tower, its position table resampled at another scale."""

from __future__ import annotations

from typing import ClassVar

from ..schemas.encoders.hy_v4_vl import HYV4VLVisionEncoderConfig
from .hunyuan_vl import HunYuanVision
from .reading import Reading


class HYV4VL(HunYuanVision[HYV4VLVisionEncoderConfig]):
    """The family of hy_v4_vl_vision."""

    model_type = "hy_v4_vl_vision"
    module = "transformers.models.hy_v4_vl.modeling_hy_v4_vl"
    model_class = "HYV4VLVisionModel"
    config_class = "HYV4VLVisionConfig"
    read_by: ClassVar = {"hy_v4_vl": Reading()}
    vlm = "hy_v4_vl"
    image_processor = "HYV4VLImageProcessor"
    stretch = 0.1
