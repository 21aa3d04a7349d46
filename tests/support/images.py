"""Images of noise, the same on every call and in every process."""

from __future__ import annotations

import numpy as np
from PIL import Image


def noise_image(width: int, height: int) -> Image.Image:
    """An RGB image of noise; another size is other noise."""
    rng = np.random.default_rng((width, height))
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
