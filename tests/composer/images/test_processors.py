"""What a processor is given, and what of a checkpoint's values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil

from vision_composer.errors import InputError
from vision_composer.images.preprocess import DensePreprocessor
from vision_composer.images.processors import load_image_processor, process_ragged


def test_an_image_is_not_given_to_a_processor_that_would_make_it_huge() -> None:
    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("resized")

    with pytest.raises(ValueError, match="14000x14000 pixels, more than the limit"):
        process_ragged(never, lambda width, height: (14_000, 14_000), Image.new("RGB", (8, 8)))  # type: ignore[arg-type]  # no ResizeRule


def test_null_says_nothing(tmp_path: Path) -> None:
    """As where the key is left out: the family's value counts."""
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": None, "do_resize": False}))
    defaults = {"image_mean": [0.1, 0.2, 0.3], "size": {"shortest_edge": 32}}
    processor = load_image_processor(CLIPImageProcessorPil, defaults, tmp_path)
    assert list(processor.image_mean) == [0.1, 0.2, 0.3]
    assert not processor.do_resize


@pytest.mark.parametrize(("height", "width"), [(32, 40), (40, 32)])
def test_a_processor_of_another_tower_is_refused(height: int, width: int) -> None:
    preprocessor = DensePreprocessor(CLIPImageProcessorPil(), size=32)
    with pytest.raises(InputError, match=f"makes 3 channels of {width}x{height} pixels"):
        preprocessor.collate([{"pixel_values": torch.zeros(1, 3, height, width)}])
