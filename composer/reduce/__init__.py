"""Reductions of the tokens that come out of a vision half, one file each. Loads no torch.

The config blocks are in ``vision_composer.schemas.reduce``. Nothing here looks at attention or is trained.
"""

from __future__ import annotations

from ..schemas.reduce import ReduceConfig
from .base import Reduction
from .evs import EvsReduction
from .pool import PoolReduction
from .vidcom2 import Vidcom2Reduction

REDUCTIONS: dict[str, type[Reduction]] = {
    reduction.type: reduction for reduction in (EvsReduction, PoolReduction, Vidcom2Reduction)
}
"""type -> reduction."""


def reduction_of(config: ReduceConfig) -> Reduction:
    """Return the reduction of a config block."""
    return REDUCTIONS[config.type](config)


__all__ = ["REDUCTIONS", "Reduction", "reduction_of"]
