"""Qianfan-OCR (``QianfanOCRVisionModel``): InternVL's tower, its blocks under another name."""

from __future__ import annotations

from typing import ClassVar

from .internvl import InternVL
from .reading import Reading


class QianfanOCR(InternVL):
    """The family of qianfan_ocr_vision."""

    model_type = "qianfan_ocr_vision"
    model_class = "QianfanOCRVisionModel"
    config_class = "QianfanOCRVisionConfig"
    read_by: ClassVar = {"qianfan_ocr": Reading(-1, "default", last_is_normed=True)}
    vlm = "qianfan_ocr"
    vlm_root = "vision_model"
    blocks = "layers"
