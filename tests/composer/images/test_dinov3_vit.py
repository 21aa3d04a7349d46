"""DINOv3's image processor on Pillow beside torch's arithmetic; transformers' own needs torchvision."""

from __future__ import annotations

import numpy as np
import torch
from support.processors import settings
from support.whole_images import LEVEL, SIZES, noise, ours
from torch.nn.functional import interpolate


def test_dinov3_is_within_a_grey_level_of_torchs_arithmetic() -> None:
    """There, pixels are rescaled before they are resized."""
    made = settings("DINOv3ViTImageProcessor", size=40)
    mean, std = (torch.tensor(made.values[key]).view(3, 1, 1) for key in ("image_mean", "image_std"))
    for size in SIZES:
        image = noise(*size)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255
        want = (interpolate(pixels, size=(40, 40), mode="bilinear", antialias=True)[0] - mean) / std
        assert np.abs(ours(made, image) - want.numpy()).max() <= LEVEL / float(std.min())
