"""Idefics3's and SmolVLM's view of the whole image: the last of what transformers' processors cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import transformers
from PIL import Image

from vision_composer.images import thumbnails


@pytest.mark.parametrize("name", ["Idefics3ImageProcessorPil", "SmolVLMImageProcessorPil"])
def test_the_whole_image_alone_is_as_with_its_tiles(name: str) -> None:
    values: dict[str, Any] = {"size": {"longest_edge": 128}, "max_image_size": {"longest_edge": 32}}
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 60, 3), dtype=np.uint8))
    theirs = getattr(transformers, name)(**values)(image, return_tensors="np")
    ours = getattr(thumbnails, name)(**values)(image, return_tensors="np")
    assert theirs["pixel_values"].shape[1] > 2
    for key in ("pixel_values", "pixel_attention_mask"):
        assert np.array_equal(ours[key], theirs[key][:, -1:])
