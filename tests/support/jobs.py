"""Rows of features, folders of images, and encoders that are small and known, for the tests of jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from vision_composer.jobs.encoded import Encoded

SMALL: dict[str, Any] = {
    "schema": 1,
    "encoder": {
        "model_type": "clip_vision_model",
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "image_size": 16,
        "patch_size": 8,
    },
    "select_layers": [-1],
}
"""A tower of random weights."""


def encoded(name: str, features: torch.Tensor, *, row: int = 0) -> Encoded:
    """Features of a tensor (tokens, width) as they are stored."""
    bits = features.contiguous()
    dtype = str(features.dtype).removeprefix("torch.")
    numbers: Any = bits.view(torch.int16).numpy().view(np.uint16) if dtype == "bfloat16" else bits.numpy()
    return Encoded(row, name, "in", (5, 4), (1, 2, 3), len(features), dtype, numbers)


def draw(folder: Path, count: int, *, first: int = 0, size: tuple[int, int] = (20, 14)) -> list[Path]:
    """Write JPEGs of one colour each, named by number."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:06}.jpg" for number in range(first, first + count)]
    for number, path in enumerate(paths, first):
        Image.new("RGB", size, (number % 256, number * 7 % 256, number // 256)).save(path)
    return paths
