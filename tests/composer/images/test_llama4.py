"""Llama 4's image processor on Pillow beside torch's arithmetic; transformers' own needs torchvision."""

from __future__ import annotations

import numpy as np
import torch
from support.processors import settings
from support.whole_images import LEVEL, SIZES, noise, ours, resized


def test_llama_4_computes_in_bfloat16() -> None:
    made = settings("Llama4ImageProcessor", size=40)
    image = noise(40, 40)  # not resized, so that only the arithmetic differs
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).to(torch.bfloat16) * (1 / 255)
    half = torch.tensor([0.5] * 3, dtype=torch.bfloat16).view(3, 1, 1)
    want = pixels.sub(half).div(half)
    assert np.array_equal(ours(made, image), want.float().numpy())
    for size in SIZES:
        image = noise(*size)
        want = (resized(image, 40, 40, "bilinear").float() / 255 - 0.5) / 0.5
        assert np.abs(ours(made, image) - want.numpy()).max() <= 2 * LEVEL + 2**-7
