"""A feature selector: from (images, tokens, width) to (images, fewer tokens, width)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def every_other(features: Tensor) -> Tensor:
    """Keep the first token, the third, and so on."""
    return features[:, ::2]
