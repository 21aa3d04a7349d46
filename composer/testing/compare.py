"""Compare features with expected ones, with a tolerance that holds on any CPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import ConformanceError

_ROUNDINGS = 100
"""How far two right results may differ, in roundings of the largest value.

The order of sums depends on the batch size, the kernel and the instruction set. Between the pixels and the
features of a small tower are some ten matrix products, and each adds an error of a few roundings of its
largest value; a wrong stage differs by thousands."""


def check_equal(got: Sequence[Tensor], want: Sequence[Tensor], what: str) -> None:
    """Compare features image by image, relative to the scale of the expected ones.

    Raises:
        ConformanceError: If they differ by more than rounding explains; the message says how.
    """
    if len(got) != len(want):
        raise ConformanceError(f"{what}: {len(got)} images come out, not {len(want)}")
    for ours, theirs in zip(got, want, strict=True):
        if ours.shape != theirs.shape:
            raise ConformanceError(f"{what} has shape {tuple(ours.shape)}, not {tuple(theirs.shape)}")
        if not ours.isfinite().all():
            raise ConformanceError(f"{what}: {int((~ours.isfinite()).sum())} values are not finite")
        if not theirs.isfinite().all():  # an infinite scale would allow any difference
            wrong = int((~theirs.isfinite()).sum())
            raise ConformanceError(f"{what}: {wrong} of the expected values are not finite")
        scale = theirs.abs().max().item() if theirs.numel() else 0.0
        difference = (ours - theirs).abs().max().item() if theirs.numel() else 0.0
        if not difference <= _ROUNDINGS * torch.finfo(theirs.dtype).eps * scale:
            raise ConformanceError(
                f"{what}: differs by up to {difference:.3g}, and the largest value is {scale:.3g}"
            )
