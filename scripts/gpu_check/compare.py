"""How far features are from those that are wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor


def largest_error(got: Sequence[Tensor], want: Sequence[Tensor]) -> float:
    """Relative to the largest value that is wanted."""
    pairs = [(one.double(), other.double()) for one, other in zip(got, want, strict=True) if other.numel()]
    scale = max(float(other.abs().max()) for _, other in pairs)
    return max(float((one - other).abs().max()) for one, other in pairs) / scale


def output_stays(run: Callable[..., Sequence[Tensor]], inputs: Mapping[str, Tensor]) -> bool:
    """Whether an output is the same, to the bit, after another run on inputs of the same sizes."""
    for _ in range(3):  # the first runs of a CUDA graph record it
        run(**inputs)
    kept = list(run(**inputs))
    held = [part.clone() for part in kept]
    run(**{**inputs, "pixel_values": inputs["pixel_values"] + 1})
    return all(torch.equal(one, other) for one, other in zip(kept, held, strict=True))
