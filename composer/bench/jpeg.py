"""JPEGs to time with."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def jpeg(width: int, height: int) -> bytes:
    """Return a file of soft shapes with a little noise, which takes about as long to decode as a photo."""
    generator = np.random.default_rng(0)
    soft = generator.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(soft).resize((width, height), Image.Resampling.BICUBIC))
    noisy = pixels + generator.normal(0, 4, pixels.shape)
    content = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(content, "JPEG", quality=90)
    return content.getvalue()
