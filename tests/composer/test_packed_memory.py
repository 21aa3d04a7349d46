"""Packed towers take memory in proportion to their images: nothing grows with tokens times tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support import tiny

from vision_composer import compose
from vision_composer.encoders import FAMILIES
from vision_composer.encoders.packed import PackedFamily

PACKED = [name for name, family in FAMILIES.items() if isinstance(family, PackedFamily)]
SIZES = [(64, 64), (40, 100), (90, 30), (64, 64)]
"""Heights and widths: two alike and two that differ."""


def allocations(encoder: Any, inputs: dict[str, torch.Tensor]) -> tuple[int, int]:
    """Bytes of the largest allocation, and the most that were held at once, of all that torch allocated.

    The profiler hears them from the allocator itself: those inside kernels and custom operators, too.
    """
    cpu = [torch.profiler.ProfilerActivity.CPU]
    with torch.no_grad(), torch.profiler.profile(activities=cpu, profile_memory=True) as profile:
        encoder(**inputs)
    assert profile.profiler is not None
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    sizes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(sizes), int(np.cumsum(sizes).max())


ALWAYS = {"qwen2_5_vl_vision", "pixtral", "siglip2_vision_model", "gemma4_vision", "kimi_k25_vision"}


@pytest.mark.parametrize(
    "model_type", [pytest.param(name, marks=() if name in ALWAYS else pytest.mark.slow) for name in PACKED]
)
def test_memory_is_linear_in_the_images(model_type: str) -> None:
    encoder_block = tiny.encoder_of(model_type)
    if model_type.startswith("qwen3"):
        encoder_block = encoder_block | {"patch_size": 32}  # its processor enlarges the images
    encoder = compose({"schema": 1, "encoder": encoder_block})
    images = [np.full((*size, 3), 100, dtype=np.uint8) for size in SIZES]
    encoder.encode(images[:1])  # what is made once
    few, many = encoder.preprocess(images * 2), encoder.preprocess(images * 8)
    tokens = 8 * sum(encoder.info.num_patches(width, height) for height, width in SIZES)
    _, peak_of_few = allocations(encoder, few)
    largest, peak_of_many = allocations(encoder, many)
    assert largest < tokens**2  # not even a mask of one byte a pair
    assert peak_of_many <= 1.01 * 4 * peak_of_few
