"""What is known of an image processor: its arguments, and the names that it goes by."""

from __future__ import annotations

from PIL import Image

from vision_composer.schemas import PROCESSOR_CLASSES
from vision_composer.schemas.processor_class import ARGUMENTS, RESAMPLE, ProcessorClass, plain_name


def test_names_of_variants_and_old_names() -> None:
    for name in ("CLIPImageProcessorFast", "CLIPImageProcessorPil", "CLIPFeatureExtractor"):
        assert plain_name(name) == "CLIPImageProcessor"
    assert plain_name("KimiImageProcessor") == "Kimi_K25ImageProcessor"
    assert plain_name("Cohere2VisionImageProcessorFast") == "Cohere2VisionImageProcessor"


def test_every_class_goes_by_its_own_name() -> None:
    assert {name: plain_name(name) for name in PROCESSOR_CLASSES} == {
        name: known.name for name, known in PROCESSOR_CLASSES.items()
    }


def test_what_has_no_default_is_an_argument_all_the_same() -> None:
    known = ProcessorClass("Ours", "pixels", frozenset(), {"size": 3, "tiles": 4})
    assert known.arguments == ARGUMENTS | {"tiles"}


def test_filters_have_pillows_numbers() -> None:
    assert dict(RESAMPLE) == {name: Image.Resampling[name.upper()].value for name in RESAMPLE}
