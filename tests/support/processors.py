"""Image processors with values of a test's own, some of 40 x 40 pixels, and preprocessors made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vision_composer.images.arguments import canonical
from vision_composer.images.preprocess import (
    DensePreprocessor,
    RaggedPreprocessor,
    dense_preprocessor,
    ragged_preprocessor,
)
from vision_composer.images.rules import rule_of
from vision_composer.images.settings import Needs, ProcessorSettings, resolve_settings
from vision_composer.schemas import PROCESSOR_CLASSES, ImageProcessorConfig

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
"""Name of transformers' class -> arguments with which it makes images of 40 x 40 pixels."""


def settings(name: str, **values: Any) -> ProcessorSettings:
    """A class's defaults, and some values in place of them."""
    chosen = PROCESSOR_CLASSES[name]
    return ProcessorSettings(name, {**chosen.defaults, **canonical(chosen, values)}, {})


def resolved(
    own: str, folder: Path | None, block: dict[str, Any] | None = None, **fitting: Any
) -> ProcessorSettings:
    """What a family's class becomes with a checkpoint's folder and a config's block."""
    needs = Needs(PROCESSOR_CLASSES[own], fitting, side=32, dictated={})
    return resolve_settings(ImageProcessorConfig.model_validate(block or {}), folder, needs)


def dense(made: ProcessorSettings, *, num_channels: int = 3, size: int | None = None) -> DensePreprocessor:
    """The preprocessor of a dense tower."""
    return dense_preprocessor(made, rule_of(made.type, made.values), num_channels, size)


def ragged(made: ProcessorSettings) -> RaggedPreprocessor:
    """The preprocessor of a tower that takes each image at a size of its own."""
    return ragged_preprocessor(made, rule_of(made.type, made.values), 3)


def preprocessor(class_name: str = "CLIPImageProcessorPil", **values: Any) -> DensePreprocessor:
    """Our preprocessor for one of :data:`PROCESSORS`; ``values`` are further arguments of its class."""
    return dense(settings(class_name.removesuffix("Pil"), **{**PROCESSORS[class_name], **values}))


def written(folder: Path, values: Any, name: str = "preprocessor_config.json") -> Path:
    """Write a processor config into a folder and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(values), encoding="utf-8")
    return folder
