"""Features that are NaN or infinite, and whose they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

NOT_FINITE = (
    "its features are NaN or infinite: weights or pixel values are, or they overflow in the tower's dtype"
)


def not_finite(features: Sequence[Tensor] | Tensor) -> list[int]:
    """Return which images have features that are NaN or infinite.

    Costs one sum where all is well: the sum of numbers is finite only if each of them is.

    Args:
        features: Those of a batch: (images, tokens, width), or a tensor for each image.
    """
    parts = [features] if isinstance(features, Tensor) else list(features)
    if not parts:
        return []
    # Halves may overflow when summed; floats may too, so what follows looks at each number.
    total = torch.stack([part.detach().sum(dtype=torch.float32) for part in parts]).sum()
    if torch.isfinite(total):
        return []
    return [i for i, image in enumerate(features) if not torch.isfinite(image).all()]
