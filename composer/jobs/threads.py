"""How many threads a forward gets beside the processes that read images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from ..errors import VisionComposerError

if TYPE_CHECKING:
    from ..planning import AnyPlan

_SMALL = 25_000_000
"""Operations for an image: a core computes them in about 0.3 ms, as long as it takes to read a small JPEG."""


@contextmanager
def threads_of(plan: AnyPlan) -> Iterator[None]:
    """Let torch run the forwards of a small encoder on one thread inside.

    Reading takes longer than such a forward, and threads that wait for each other in it take cores from what
    reads. The number follows from the plan and not from a measurement, because features could differ by
    rounding with another number.
    """
    before = torch.get_num_threads()
    if _is_small(plan):
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _is_small(plan: AnyPlan) -> bool:
    side = plan.image_size
    try:
        flops = plan.flops(side, side)
    except VisionComposerError:  # of an encoder that takes no such image, such as one of clips
        return False
    return flops is not None and flops <= _SMALL
