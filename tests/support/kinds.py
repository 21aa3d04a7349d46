"""Of every kind of encoder one, for tests of what is alike for all of a kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

KINDS = {
    "a class token, and a norm before the blocks": "clip_vision_model",
    "a pooling head": "siglip_vision_model",
    "images of any size": "dinov2",
    "a scale for every branch, and an image processor of its own": "internvl_vision",
    "a class token behind the patches": "llama4_vision_model",
    "windows": "qwen2_5_vl_vision",
    "deepstack": "qwen3_vl_vision",
    "rows of patches, and frequencies in two directions": "pixtral",
    "positions resized image by image": "siglip2_vision_model",
    "frames that are pooled": "kimi_k25_vision",
    "patches that come padded": "gemma4_vision",
    "images that come padded": "idefics3_vision",
    "tiles of an image that see each other": "mllama_vision_model",
}


def one_of_each_kind(names: Iterable[str]) -> list[Any]:
    """Names as parameters of a test; those that are not of `KINDS` are left to the slow tests."""
    quick = set(KINDS.values())
    return [pytest.param(name, marks=() if name in quick else pytest.mark.slow, id=name) for name in names]
