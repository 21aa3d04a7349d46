"""transformers' Auto classes know what the bridges save."""

from __future__ import annotations

from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, AutoProcessor
from transformers.models.auto.image_processing_auto import AutoImageProcessor

from vision_composer.bridges.llava import (
    VisionComposerLlavaConfig,
    VisionComposerLlavaForConditionalGeneration,
)
from vision_composer.bridges.processor import VisionComposerImageProcessor, VisionComposerProcessor
from vision_composer.bridges.registration import register_transformers
from vision_composer.bridges.vision import VisionComposerConfig, VisionComposerModel


def test_every_class_is_found_however_often_it_is_registered() -> None:
    for _ in range(2):
        register_transformers()
    for config in (VisionComposerConfig, VisionComposerLlavaConfig):
        assert type(AutoConfig.for_model(config.model_type)) is config
        assert VisionComposerImageProcessor in classes(AutoImageProcessor, config)
        assert VisionComposerProcessor in classes(AutoProcessor, config)
    assert classes(AutoModel, VisionComposerConfig) == [VisionComposerModel]
    found = classes(AutoModelForImageTextToText, VisionComposerLlavaConfig)
    assert found == [VisionComposerLlavaForConditionalGeneration]


def classes(auto: type, config: type) -> list[object]:
    """What an Auto class takes for a config; image processors come in a mapping of backends or a tuple."""
    from transformers.models.auto import image_processing_auto, processing_auto

    mapping = {
        AutoImageProcessor: image_processing_auto.IMAGE_PROCESSOR_MAPPING,
        AutoProcessor: processing_auto.PROCESSOR_MAPPING,
    }.get(auto) or auto._model_mapping
    found = mapping[config]
    if isinstance(found, dict):
        return list(found.values())
    return list(found) if isinstance(found, tuple) else [found]
