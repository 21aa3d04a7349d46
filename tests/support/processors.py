"""Image processors of transformers that make images of 40 x 40 pixels."""

from __future__ import annotations

from typing import Any

import transformers

from vision_composer.images.preprocess import DensePreprocessor, ImagePreprocessor
from vision_composer.images.processors import load_image_processor

SQUARE = {"size": {"height": 40, "width": 40}}
CROPPED = {"size": {"shortest_edge": 40}, "crop_size": {"height": 40, "width": 40}}
PROCESSORS: dict[str, dict[str, Any]] = {
    "CLIPImageProcessorPil": CROPPED,
    "BitImageProcessorPil": {"size": {"shortest_edge": 46}, "crop_size": {"height": 40, "width": 40}},
    "SiglipImageProcessorPil": SQUARE,
    "BlipImageProcessorPil": SQUARE,
    "GotOcr2ImageProcessorPil": SQUARE,
    "ViTImageProcessorPil": SQUARE,
}
"""Name of the class -> its arguments."""


def preprocessor(class_name: str = "CLIPImageProcessorPil", **values: Any) -> ImagePreprocessor:
    """Our preprocessor around one of them; ``values`` are further arguments of its class."""
    return DensePreprocessor(
        load_image_processor(getattr(transformers, class_name), {**PROCESSORS[class_name], **values}, None)
    )
